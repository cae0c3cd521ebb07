// attention_weights.wgsl for few keys: an invocation takes a query of a head, and nothing is shared.
struct Params { heads: u32, head_dim: u32, queries: u32, keys: u32, scale: f32, count: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // q, or dout
@group(0) @binding(2) var<storage, read> b: array<f32>; // k, or v
//#if BACKWARD
@group(0) @binding(3) var<storage, read> weights: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

//#if !BACKWARD
//#include finite.wgsl
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let query = e % p.queries;
  let head = (e / p.queries) % p.heads;
  let batch = e / (p.queries * p.heads);
  let width = p.heads * p.head_dim;
  let row = e * p.keys;
  let first = (batch * p.queries + query) * width + head * p.head_dim;
  let keys_at = batch * p.keys * width + head * p.head_dim;
  //#if BACKWARD
  var inner = 0.0;
  //#else
  var top = -3.0e38;
  var scores = 0.0;
  //#end
  for (var j = 0u; j < p.keys; j++) {
    var sum = 0.0;
    for (var c = 0u; c < p.head_dim; c++) { sum += a[first + c] * b[keys_at + j * width + c]; }
    //#if BACKWARD
    y[row + j] = sum;
    inner += sum * weights[row + j];
    //#else
    y[row + j] = sum * p.scale;
    top = max(top, sum * p.scale);
    scores += sum * p.scale;
    //#end
  }
  //#if BACKWARD
  for (var j = 0u; j < p.keys; j++) { y[row + j] = weights[row + j] * (y[row + j] - inner) * p.scale; }
  //#else
  var all = 0.0;
  for (var j = 0u; j < p.keys; j++) {
    let value = exp(y[row + j] - top);
    y[row + j] = value;
    all += value;
  }
  all = poisoned(all, scores, MOST_SCORE);
  for (var j = 0u; j < p.keys; j++) { y[row + j] = y[row + j] / all; }
  //#end
}
