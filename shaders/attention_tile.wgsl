// What the tiled attention kernels (for GPUs) share: how a workgroup's $T invocations divide the work, and where tokens lie.
//
// A workgroup owns $QT slots of its own tokens and meets the others in tiles of $KT.
//
//   lane, quad            of a product: others lane, lane + LANES, …, and own slots 4 · quad …
//   column, strip, part   of a sum: vec4 of the head, own slots STRIP · strip …, others part, part + PARTS, …
//
// Products come from blocks of 4 own tokens × 4 others ($OTHER_QUADS times) per invocation, a chunk of the head at a time out of `stage`; what
// they weight is summed from blocks of STRIP own tokens × a vec4 of the head, the others divided among PARTS groups of invocations. With
// MATRIX both are of subgroup matrices (attention_matrix.wgsl): an invocation has 4 own tokens × $EACH others of a product.
const HD = $HDu;
const HD4 = $HD4u;     // of the head in vec4, rounded up
const QT = $QTu;
const KT = $KTu;
const LANES = $LANESu; // KT = LANES · $EACH · a number of quads
//#if MATRIX
const LANES_AT = 0u;
//#else
const STRIP = $STRIPu;
const PARTS = $PARTSu;
const COLUMNS = $COLUMNSu;
const OTHER_STEP = KT + 2u; // between vec4 of the head in `stage`; the 2 keep lanes out of each other's banks
const OWN_STEP = QT + 2u;
const OWN_AT = $CHUNKu * OTHER_STEP;
const LANES_AT = QT * LANES; // past the weights: a vec4 for each invocation
//#end
const LOWEST = -1.0e30; // stands for −∞: sums of two stay finite, and exp(LOWEST − m) is 0

// By turns the operands of a product, the weights of a sum ([own slot][lane], a vec4 of the lane's 4 others), and a vec4 for
// each (quad, lane); with MATRIX the last alone, and whole tables before.
var<workgroup> stage: array<vec4f, $STAGE>;
var<workgroup> own_token: array<u32, QT>;
var<workgroup> other_token: array<u32, KT>;

//#include attention_products.wgsl

// A quad's sums over its lanes of what `stage` has for each. `lanes` is LANES once more, for loops that are to stay loops.
fn over_lanes(quad: u32) -> vec4f {
  var sum = vec4f(0.0);
  for (var l = 0u; l < p.lanes; l++) { sum += stage[LANES_AT + quad * LANES + l]; }
  return sum;
}

// The same of a value that every invocation has.
fn sum_over_lanes(value: vec4f, quad: u32, t: u32) -> vec4f {
  stage[LANES_AT + t] = value;
  workgroupBarrier();
  let sum = over_lanes(quad);
  workgroupBarrier();
  return sum;
}
