// Copies blocks: block b, element i goes from x[b·x_stride + x_offset + i] to y[b·y_stride + y_offset + i].
// Slices, concatenation and broadcasting (x_stride 0) along any axis are all of this form.
struct Params { count: u32, inner: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // moved as bits, whatever the type
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let block = e / p.inner;
  let i = e % p.inner;
  y[block * p.y_stride + p.y_offset + i] = x[block * p.x_stride + p.x_offset + i];
}
