// LayerNorm's gradient for its input, one invocation a row:
//   dx = (g − mean(g) − x̂·mean(g·x̂)) / σ,  g = dy·weight, x̂ = (x − mean)/σ
// NORMALISED writes x̂ instead: the weight's gradient is the column sum of dy·x̂. VEC4 takes four channels at a time;
// `channels` is then in vec4.
struct Params { rows: u32, channels: u32, eps: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
//#if !NORMALISED
@group(0) @binding(2) var<storage, read> weight: array<Element>;
@group(0) @binding(3) var<storage, read> dy: array<Element>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

fn total(v: Element) -> f32 {
  //#if VEC4
  return (v.x + v.y) + (v.z + v.w);
  //#else
  return v;
  //#end
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = (group.x + group.y * p.grid_x) * 64u + t;
  if (row >= p.rows) { return; }
  let n = p.channels;
  let base = row * n;
  //#if VEC4
  let size = 4.0 * f32(n);
  //#else
  let size = f32(n);
  //#end
  var sum = Element();
  for (var i = 0u; i < n; i++) { sum += x[base + i]; }
  let mean = total(sum) / size;
  var squares = Element();
  for (var i = 0u; i < n; i++) { let v = x[base + i] - mean; squares += v * v; }
  let scale = 1.0 / sqrt(total(squares) / size + p.eps);
  //#if NORMALISED
  for (var i = 0u; i < n; i++) { y[base + i] = (x[base + i] - mean) * scale; }
  //#else
  var g_sums = Element();
  var gx_sums = Element();
  for (var i = 0u; i < n; i++) {
    let g = dy[base + i] * weight[i];
    g_sums += g;
    gx_sums += g * (x[base + i] - mean) * scale;
  }
  let g_mean = total(g_sums) / size;
  let gx_mean = total(gx_sums) / size;
  for (var i = 0u; i < n; i++) {
    let g = dy[base + i] * weight[i];
    y[base + i] = (g - g_mean - (x[base + i] - mean) * scale * gx_mean) * scale;
  }
  //#end
}
