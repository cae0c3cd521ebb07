// Copies blocks: block b, element i goes from x[b·x_stride + x_offset + i] to y[b·y_stride + y_offset + i].
// Slices, concatenation and broadcasting (x_stride 0) along any axis are all of this form. VEC4 moves four elements at a
// time; counts, strides and offsets are then in vec4.
struct Params { count: u32, inner: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
// Moved as bits, whatever the type.
//#if VEC4
alias Element = vec4u;
//#else
alias Element = u32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let block = e / p.inner;
  let i = e % p.inner;
  y[block * p.y_stride + p.y_offset + i] = x[block * p.x_stride + p.x_offset + i];
}
