// One AdamW step (decoupled weight decay, as torch.optim.AdamW) on every trainable parameter of a buffer at once:
//   p ← p·(1 − lr·wd);  m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  p ← p − lr·(m/c₁)/(√(v/c₂) + ε)
// Parameters are padded to 64 elements, and each run of 64 has its group's (lr, wd). `step` holds what changes from step
// to step: c₁ = 1 − β₁ᵗ, c₂ = 1 − β₂ᵗ, then what gradient_norm.wgsl makes `report` of: a factor on the
// gradients (accumulation) and the largest norm. Where that norm is not finite, nothing is changed.
// rest1 and rest2 are 1 − β: in float32, 1 − 0.999 would be off by 1e-5.
// Elements are taken four at a time; `count` is in vec4.
struct Params { count: u32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, eps: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read> groups: array<u32>;   // group of each run of 64
@group(0) @binding(3) var<storage, read> step: array<f32>;     // c₁, c₂, factor, clip, then (lr, wd) of each group
@group(0) @binding(4) var<storage, read> report: array<u32>;   // norm and the gradients' scale as bits, 1 to apply, 0
@group(0) @binding(5) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> v: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count || report[2] == 0u) { return; }
  let run = i / 16u;
  let lr = step[4u + 2u * groups[run]];
  let wd = step[5u + 2u * groups[run]];
  let g = gradient[i] * bitcast<f32>(report[1]);
  let m1 = p.beta1 * m[i] + p.rest1 * g;
  let v1 = p.beta2 * v[i] + p.rest2 * g * g;
  m[i] = m1;
  v[i] = v1;
  parameter[i] = parameter[i] * (1.0 - lr * wd) - lr * (m1 / step[0]) / (sqrt(v1 / step[1]) + p.eps);
}
