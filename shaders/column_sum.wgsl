// y[b, c] = Σ over rows of x[b, row, c] (· other[b, row, c]): gradients of biases, norms and whatever was broadcast.
// A workgroup takes 16 columns; 16 invocations share a column, in runs that keep the rounding chain short. The
// order of summation is fixed, so two runs give the same bits.
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//#if PRODUCT
@group(0) @binding(3) var<storage, read> other: array<f32>;
//#end

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let column = group.x * 16u + t % 16u;
  let at = group.y * p.rows * p.columns + min(column, p.columns - 1u);
  var sum = 0.0;
  for (var start = t / 16u; start < p.rows; start += 512u) {
    var run = 0.0;
    for (var row = start; row < min(start + 512u, p.rows); row += 16u) {
      //#if PRODUCT
      run += x[row * p.columns + at] * other[row * p.columns + at];
      //#else
      run += x[row * p.columns + at];
      //#end
    }
    sum += run;
  }
  parts[t] = sum;
  workgroupBarrier();
  for (var step = 128u; step >= 16u; step /= 2u) {
    if (t < step) { parts[t] += parts[t + step]; }
    workgroupBarrier();
  }
  if (t < 16u && column < p.columns) { y[group.y * p.columns + column] = parts[t]; }
}
