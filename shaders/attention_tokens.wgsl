// Multi-head attention over tokens, subgroup variant, for CPU adapters: what attention.wgsl computes without WINDOW. One
// subgroup takes $SG queries of a head, a lane each. Keys and values are loaded a key per lane and broadcast, so the softmax
// needs no exchange between lanes, and there is no barrier. COUNT is HD4 where a head is short, and p.head_vec4, the same in a
// loop that drivers do not unroll, where it is long.
enable subgroups;
struct Params { heads: u32, scale: f32, queries: u32, keys: u32, head_vec4: u32 }
//#include attention_bindings.wgsl

const HD = $HDu; // head_dim
const HD4 = $HD4u; // head_dim in vec4, rounded up
const LOWEST = -1.0e30; // stands for −∞, see attention.wgsl
//#include attention_load.wgsl NAME=q FROM=q_in
//#include attention_load.wgsl NAME=k FROM=k_in
//#include attention_load.wgsl NAME=v FROM=v_in
//#include attention_products.wgsl
//#include finite.wgsl

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let width = p.heads * HD;
  let head = group.y * HD;
  let query = group.x * $SGu + lane;
  let own = (group.z * p.queries + min(query, p.queries - 1u)) * width + head;
  var q: array<vec4f, HD4>;
  var acc: array<vec4f, HD4>;
  for (var x = 0u; x < $COUNT; x++) {
    q[x] = load_q(own, x);
    acc[x] = vec4f(0.0);
  }
  var top = LOWEST;
  var sum = 0.0;
  var total = 0.0; // of the scores, for what softmax would hide
  for (var start = 0u; start < p.keys; start += $SGu) {
    // Lanes past the last key repeat it, with weight 0: what lies behind it may be anything.
    let at = (group.z * p.keys + min(start + lane, p.keys - 1u)) * width + head;
    //#unroll j SG
    var s_${j} = 0.0;
    //#end
    for (var x = 0u; x < $COUNT; x++) {
      let k = load_k(at, x);
      //#unroll j SG
      s_${j} = dot4(q[x], $BROADCAST(k, ${j}u), s_${j});
      //#end
    }
    var higher = top;
    //#unroll j SG
    s_${j} *= p.scale;
    total += s_${j};
    s_${j} = select(LOWEST, s_${j}, start + ${j}u < p.keys);
    higher = max(higher, s_${j});
    //#end
    let factor = exp(top - higher);
    top = higher;
    sum *= factor;
    //#unroll j SG
    let e_${j} = exp(s_${j} - top);
    sum += e_${j};
    //#end
    for (var x = 0u; x < $COUNT; x++) {
      let v = load_v(at, x);
      var y = acc[x] * factor;
      //#unroll j SG
      y = fma(vec4f(e_${j}), $BROADCAST(v, ${j}u), y);
      //#end
      acc[x] = y;
    }
  }
  if (query >= p.queries) { return; }
  sum = poisoned(sum, total, MOST_SCORE);
  for (var x = 0u; x < p.head_vec4; x++) {
    let y = acc[x] / sum;
    //#if SCALAR
    for (var j = 0u; j < 4u && 4u * x + j < HD; j++) { out[own + 4u * x + j] = y[j]; }
    //#else
    out[own / 4u + x] = y;
    //#end
  }
}
