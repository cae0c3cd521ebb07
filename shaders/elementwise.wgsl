// y = activate(x + other[i mod period]), element by element: broadcasting over leading axes is a period.
struct Params { count: u32, period: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#if ADD
@group(0) @binding(2) var<storage, read> other: array<f32>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//#include math.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if ADD
  y[i] = activate(vec4f(x[i] + other[i % p.period])).x;
  //#else
  y[i] = activate(vec4f(x[i])).x;
  //#end
}
