// An f32 in two f16, for matrices of f16 (matmul_matrix.wgsl): hi = f16(x), and lo = f16(SPLIT · (x − hi)).
const SPLIT = 2048.0;
struct Split { hi: vec4h, lo: vec4h }

// By way of packed words: of vec4f(vec4h(v)) − v drivers make zero.
fn split(v: vec4f) -> Split {
  let hi = vec2u(pack2x16float(v.xy), pack2x16float(v.zw));
  let rest = (v - vec4f(unpack2x16float(hi.x), unpack2x16float(hi.y))) * SPLIT;
  return Split(bitcast<vec4h>(hi), vec4h(rest));
}
