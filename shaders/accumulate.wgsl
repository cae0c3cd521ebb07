// total ← total + gradient, element by element: the gradients of the micro-steps of one update.
struct Params { count: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i < p.count) { total[i] += gradient[i]; }
}
