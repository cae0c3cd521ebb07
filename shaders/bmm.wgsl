// Products of matrices, batch by batch: y (batch, m, n) = a (batch, m, k) · b (batch, k, n). How a and b lie is in the strides: a's
// element (i, l) is at i · a_row + l · a_step, b's (l, j) at l · b_step + j · b_column. An invocation has 4 × 4 of y's elements.
//   TILED       a workgroup of 8 × 8 takes 32 × 32 elements and shares tiles of a and b of length 16
//   otherwise   each invocation reads a and b itself: for CPU adapters, where a barrier costs more
struct Params {
  m: u32, n: u32, k: u32, a_row: u32, a_step: u32, b_step: u32, b_column: u32,
  count: u32, grid_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn store(base: u32, row: u32, column: u32, sums: vec4f) {
  if (row >= p.m) { return; }
  for (var j = 0u; j < 4u; j++) {
    if (column + j < p.n) { y[base + row * p.n + column + j] = sums[j]; }
  }
}

//#if TILED
var<workgroup> a_tile: array<f32, 528>; // 16 steps of 33 rows: a column is not one bank
var<workgroup> b_tile: array<f32, 528>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let tiles = (p.n + 31u) / 32u;
  let tile = group.x + group.y * p.grid_x;
  if (tile >= p.count) { return; }
  let of_matrix = tiles * ((p.m + 31u) / 32u);
  let matrix = tile / of_matrix;
  let first_row = tile % of_matrix / tiles * 32u;
  let first_column = tile % tiles * 32u;
  let a_base = matrix * p.m * p.k;
  let b_base = matrix * p.k * p.n;
  let row = t / 8u * 4u;
  let column = t % 8u * 4u;
  //#unroll i 4
  var sum${i} = vec4f(0.0);
  //#end
  for (var start = 0u; start < p.k; start += 16u) {
    // Neighbouring invocations read neighbouring elements, whichever way a matrix lies.
    for (var e = t; e < 512u; e += 64u) {
      //#if A_TRANSPOSED
      let i = e % 32u;
      let l = e / 32u;
      //#else
      let i = e / 16u;
      let l = e % 16u;
      //#end
      var value = 0.0;
      if (first_row + i < p.m && start + l < p.k) {
        value = a[a_base + (first_row + i) * p.a_row + (start + l) * p.a_step];
      }
      a_tile[l * 33u + i] = value;
    }
    for (var e = t; e < 512u; e += 64u) {
      //#if B_TRANSPOSED
      let j = e / 16u;
      let l = e % 16u;
      //#else
      let j = e % 32u;
      let l = e / 32u;
      //#end
      var value = 0.0;
      if (first_column + j < p.n && start + l < p.k) {
        value = b[b_base + (start + l) * p.b_step + (first_column + j) * p.b_column];
      }
      b_tile[l * 33u + j] = value;
    }
    workgroupBarrier();
    for (var l = 0u; l < 16u; l++) {
      let at = l * 33u + column;
      let right = vec4f(b_tile[at], b_tile[at + 1u], b_tile[at + 2u], b_tile[at + 3u]);
      //#unroll i 4
      sum${i} += a_tile[l * 33u + row + ${i}u] * right;
      //#end
    }
    workgroupBarrier();
  }
  //#unroll i 4
  store(matrix * p.m * p.n, first_row + row + ${i}u, first_column + column, sum${i});
  //#end
}
//#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let columns = (p.n + 3u) / 4u;
  let rows = (p.m + 3u) / 4u;
  let matrix = e / (rows * columns);
  let row = e / columns % rows * 4u;
  let column = e % columns * 4u;
  // Rows and columns past the end are computed from the last ones and not written.
  let a_base = matrix * p.m * p.k;
  let b_base = matrix * p.k * p.n;
  //#unroll i 4
  let a${i} = a_base + min(row + ${i}u, p.m - 1u) * p.a_row;
  let b${i} = b_base + min(column + ${i}u, p.n - 1u) * p.b_column;
  var sum${i} = vec4f(0.0);
  //#end
  for (var l = 0u; l < p.k; l++) {
    let at = l * p.b_step;
    let right = vec4f(b[b0 + at], b[b1 + at], b[b2 + at], b[b3 + at]);
    //#unroll i 4
    sum${i} += a[a${i} + l * p.a_step] * right;
    //#end
  }
  //#unroll i 4
  store(matrix * p.m * p.n, row + ${i}u, column, sum${i});
  //#end
}
//#end
