// Group norm's last step, element by element over (batch, voxels, channels), `statistics` (batch, 2, channels) being mean and 1/σ:
//   forward   y = x̂·weight + bias,  x̂ = (x − mean)/σ
//   BACKWARD  dx = (dy·weight − m₀ − x̂·m₁)/σ,  `means` (batch, 2, channels) of dy·weight and of dy·weight·x̂ over the group
// VEC4 takes four channels at a time; `count` and `channels` are then in vec4.
struct Params { count: u32, voxels: u32, channels: u32, grid_x: u32 }
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> statistics: array<Element>;
@group(0) @binding(3) var<storage, read> weight: array<Element>;
//#if BACKWARD
@group(0) @binding(4) var<storage, read> means: array<Element>;
@group(0) @binding(5) var<storage, read> dy: array<Element>;
//#else
@group(0) @binding(4) var<storage, read> bias: array<Element>;
//#end
@group(0) @binding(6) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let channel = e % p.channels;
  let first = e / (p.channels * p.voxels) * 2u * p.channels + channel;
  let second = first + p.channels;
  let scale = statistics[second];
  let normalised = (x[e] - statistics[first]) * scale;
  //#if BACKWARD
  y[e] = (dy[e] * weight[channel] - means[first] - normalised * means[second]) * scale;
  //#else
  y[e] = normalised * weight[channel] + bias[channel];
  //#end
}
