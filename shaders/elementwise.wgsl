// y = activate(x + other[i mod period]), element by element: broadcasting over leading axes is a period.
// VEC4 takes four elements at a time; counts are then in vec4.
struct Params { count: u32, period: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
//#if ADD
@group(0) @binding(2) var<storage, read> other: array<Element>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<Element>;
//#include math.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if ADD
  let sum = x[i] + other[i % p.period];
  //#else
  let sum = x[i];
  //#end
  //#if VEC4
  y[i] = activate(sum);
  //#else
  y[i] = activate(vec4f(sum)).x;
  //#end
}
