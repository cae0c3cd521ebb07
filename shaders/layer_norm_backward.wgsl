// LayerNorm's gradient for its input, one invocation a row:
//   dx = (g − mean(g) − x̂·mean(g·x̂)) / σ,  g = dy·weight, x̂ = (x − mean)/σ
// NORMALISED writes x̂ instead: the weight's gradient is the column sum of dy·x̂.
struct Params { rows: u32, channels: u32, eps: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#if !NORMALISED
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = (group.x + group.y * p.grid_x) * 64u + t;
  if (row >= p.rows) { return; }
  let n = p.channels;
  let base = row * n;
  let size = f32(n);
  var sum = 0.0;
  for (var i = 0u; i < n; i++) { sum += x[base + i]; }
  let mean = sum / size;
  var squares = 0.0;
  for (var i = 0u; i < n; i++) { let v = x[base + i] - mean; squares += v * v; }
  let scale = 1.0 / sqrt(squares / size + p.eps);
  //#if NORMALISED
  for (var i = 0u; i < n; i++) { y[base + i] = (x[base + i] - mean) * scale; }
  //#else
  var g_sum = 0.0;
  var gx_sum = 0.0;
  for (var i = 0u; i < n; i++) {
    let g = dy[base + i] * weight[i];
    g_sum += g;
    gx_sum += g * (x[base + i] - mean) * scale;
  }
  for (var i = 0u; i < n; i++) {
    let g = dy[base + i] * weight[i];
    y[base + i] = (g - g_sum / size - (x[base + i] - mean) * scale * (gx_sum / size)) * scale;
  }
  //#end
}
