// Reduces x, seen as (outer, count, inner), over the middle: y (outer, inner) = $COMBINE of x, times factor. `largest` keeps NaN.
//   TIES        how many of x equal top (outer, inner): what the largest one's gradient is shared among
//   HORIZONTAL  inner is 1 and x is read in vec4, as `count` is then counted; else VEC4 has inner in vec4
// COLUMNS of the 64 invocations have a result each, which the 64 / COLUMNS at one column share; with ALONE none is shared.
// Sums are of runs, which keeps the rounding chain short.
struct Params { results: u32, count: u32, inner: u32, factor: f32, grid_x: u32 }
//#if VEC4
alias Element = vec4f;
alias Bits = vec4u;
//#else
alias Element = f32;
alias Bits = u32;
//#end
//#if HORIZONTAL
alias Result = f32;
//#else
alias Result = Element;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
//#if TIES
@group(0) @binding(2) var<storage, read> top: array<Result>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<Result>;

const LANES = 64u / $COLUMNSu;
const RUN = 64u * LANES;

fn added(a: Element, b: Element) -> Element { return a + b; }

fn largest(a: Element, b: Element) -> Element {
  let one = Bits(0x7fffffffu);
  let none = Bits(0x7f800000u);
  let most = select(max(a, b), a, (bitcast<Bits>(a) & one) > none);
  return select(most, b, (bitcast<Bits>(b) & one) > none);
}
//#if !ALONE
//#if VEC4
var<workgroup> parts: array<vec4f, 64>;
//#else
var<workgroup> parts: array<f32, 64>;
//#end
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let result = (group.x + group.y * p.grid_x) * $COLUMNSu + t % $COLUMNSu;
  let at = min(result, p.results - 1u);
  let base = at / p.inner * p.count * p.inner + at % p.inner;
  //#if TIES
  let equal = Element(top[at]);
  //#end
  //#if START_WITH_FIRST
  var all = x[base];
  //#else
  var all = Element();
  //#end
  for (var start = t / $COLUMNSu; start < p.count; start += RUN) {
    var run = x[base + start * p.inner];
    //#if TIES
    run = select(Element(), Element(1.0), run == equal);
    //#end
    for (var i = start + LANES; i < min(start + RUN, p.count); i += LANES) {
      let v = x[base + i * p.inner];
      //#if TIES
      run += select(Element(), Element(1.0), v == equal);
      //#else
      run = $COMBINE(run, v);
      //#end
    }
    all = $COMBINE(all, run);
  }
  //#if !ALONE
  parts[t] = all;
  workgroupBarrier();
  for (var step = 32u; step >= $COLUMNSu; step /= 2u) {
    if (t < step) { parts[t] = $COMBINE(parts[t], parts[t + step]); }
    workgroupBarrier();
  }
  all = parts[t];
  //#end
  if (t >= $COLUMNSu || result >= p.results) { return; }
  //#if HORIZONTAL
  let halves = $COMBINE(all, all.zwxy);
  y[result] = $COMBINE(halves, halves.yxwz).x * p.factor;
  //#else
  y[result] = all * p.factor;
  //#end
}
