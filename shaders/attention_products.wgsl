// The step of the block variants' products.
// sum + a · m in order: per row of m one component of a.
fn add(sum: vec4f, a: vec4f, m: mat4x4f) -> vec4f {
  return fma(vec4f(a.w), m[3], fma(vec4f(a.z), m[2], fma(vec4f(a.y), m[1], fma(vec4f(a.x), m[0], sum))));
}
