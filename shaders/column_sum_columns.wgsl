// Sums over rows as column_sum.wgsl does, without shared memory: an invocation takes four columns and every row, in runs
// that keep the rounding chain short. For CPU adapters. Columns are a multiple of 4, counted in vec4.
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
//#if PRODUCT
@group(0) @binding(3) var<storage, read> other: array<vec4f>;
//#end

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let column = group.x * 8u + t;
  if (column >= p.columns) { return; }
  let at = group.y * p.rows * p.columns + column;
  var sum = vec4f(0.0);
  for (var start = 0u; start < p.rows; start += 32u) {
    var run = vec4f(0.0);
    for (var row = start; row < min(start + 32u, p.rows); row++) {
      //#if PRODUCT
      run += x[row * p.columns + at] * other[row * p.columns + at];
      //#else
      run += x[row * p.columns + at];
      //#end
    }
    sum += run;
  }
  y[group.y * p.columns + column] = sum;
}
