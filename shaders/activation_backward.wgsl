// dx = dy · f'(x) for GELU (erf) or ReLU.
struct Params { count: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
//#include math.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if GELU
  // Φ(x) + x·φ(x)
  let v = x[i];
  let tail = 0.5 * erfc_positive(vec4f(abs(v) * 0.7071067811865476)).x;
  let cdf = select(1.0 - tail, tail, v < 0.0);
  dx[i] = dy[i] * (cdf + v * 0.3989422804014327 * exp(-0.5 * v * v));
  //#else
  dx[i] = select(0.0, dy[i], x[i] > 0.0);
  //#end
}
