// Transposes matrices: x (batch, rows, cols) → y (batch, cols, rows), through a tile of shared memory so that both
// sides are read and written along their rows. FLIP also reverses the batch: the mirrored taps of a convolution.
struct Params { rows: u32, cols: u32, batch: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> tile: array<f32, 272>; // 16 rows of 17: a column is not one bank

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let row = group.y * 16u + local.y;
  let col = group.x * 16u + local.x;
  let size = p.rows * p.cols;
  if (row < p.rows && col < p.cols) { tile[local.y * 17u + local.x] = x[group.z * size + row * p.cols + col]; }
  workgroupBarrier();
  //#if FLIP
  let to = (p.batch - 1u - group.z) * size;
  //#else
  let to = group.z * size;
  //#end
  let out_row = group.x * 16u + local.y;
  let out_col = group.y * 16u + local.x;
  if (out_row < p.cols && out_col < p.rows) { y[to + out_row * p.rows + out_col] = tile[local.x * 17u + local.y]; }
}
