// Transposes matrices as transpose.wgsl does, without shared memory: an invocation turns a block of 4 × 4 in registers.
// For CPU adapters, where a barrier costs more than the scattered side of the copy. Rows and columns are multiples of 4.
struct Params { count: u32, grid_x: u32, rows: u32, cols: u32, batch: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let rows = p.rows / 4u;
  let cols = p.cols / 4u;
  let row = e % rows;
  let col = (e / rows) % cols;
  let matrix = e / (rows * cols);
  let at = (matrix * p.rows + 4u * row) * cols + col;
  let block = transpose(mat4x4f(x[at], x[at + cols], x[at + 2u * cols], x[at + 3u * cols]));
  //#if FLIP
  let target_matrix = p.batch - 1u - matrix;
  //#else
  let target_matrix = matrix;
  //#end
  let to = (target_matrix * p.cols + 4u * col) * rows + row;
  y[to] = block[0];
  y[to + rows] = block[1];
  y[to + 2u * rows] = block[2];
  y[to + 3u * rows] = block[3];
}
