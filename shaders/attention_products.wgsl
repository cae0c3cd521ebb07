// The steps of the products that the subgroup variants of the encoder's attention are made of.

// sum + a · m in order: per row of m one component of a.
fn add(sum: vec4f, a: vec4f, m: mat4x4f) -> vec4f {
  return fma(vec4f(a.w), m[3], fma(vec4f(a.z), m[2], fma(vec4f(a.y), m[1], fma(vec4f(a.x), m[0], sum))));
}

fn dot4(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}
