// The SGPM's amplitude in training (SPEC B1): s = σ((z + n)/T), hard = [z + n > 0], amplitude = hard·σ(z); the gradient
// goes through s instead of hard:  d amplitude/dz = hard·σ'(z) + σ(z)·s(1 − s)/T.
struct Params { count: u32, temperature: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
//#if BACKWARD
@group(0) @binding(3) var<storage, read> dy: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

//#include sigmoid.wgsl
//#include finite.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = group.x * 64u + t;
  if (i >= p.count) { return; }
  let g = sigmoid(z[i]);
  let hard = select(0.0, 1.0, z[i] + noise[i] > 0.0);
  //#if BACKWARD
  let s = sigmoid((z[i] + noise[i]) / p.temperature);
  y[i] = dy[i] * (hard * g * (1.0 - g) + g * s * (1.0 - s) / p.temperature);
  //#else
  // exp loses a NaN on SwiftShader, and hard is 0 of one.
  y[i] = poisoned(hard * g, z[i], MOST_VARIANCE);
  //#end
}
