// Plain attention's weights and their gradient, kept in memory (B, heads, Tq, Tk): for the decoder, where they are small.
//   forward   w = softmax(scale · q·k)
//   BACKWARD  ds = w ∘ (dp − Σ w·dp) · scale,  dp = dout·v : the gradient of q·k
// A workgroup of 64 takes one query of one head.
struct Params { heads: u32, head_dim: u32, queries: u32, keys: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // q, or dout
@group(0) @binding(2) var<storage, read> b: array<f32>; // k, or v
//#if BACKWARD
@group(0) @binding(3) var<storage, read> weights: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> parts: array<f32, 64>;
//#if !BACKWARD
//#include finite.wgsl
//#end

//#include workgroup_reduce.wgsl NAME=total

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let query = group.x;
  let head = group.y;
  let batch = group.z;
  let width = p.heads * p.head_dim;
  let row = ((batch * p.heads + head) * p.queries + query) * p.keys;
  let first = (batch * p.queries + query) * width + head * p.head_dim;
  //#if !BACKWARD
  var most = -3.0e38;
  var scores = 0.0;
  //#else
  var most = 0.0;
  //#end
  for (var j = t; j < p.keys; j += 64u) {
    let at = (batch * p.keys + j) * width + head * p.head_dim;
    var sum = 0.0;
    for (var c = 0u; c < p.head_dim; c++) { sum += a[first + c] * b[at + c]; }
    //#if BACKWARD
    y[row + j] = sum;
    most += sum * weights[row + j];
    //#else
    y[row + j] = sum * p.scale;
    most = max(most, sum * p.scale);
    scores += sum * p.scale;
    //#end
  }
  //#if BACKWARD
  let inner = total(t, most);
  for (var j = t; j < p.keys; j += 64u) { y[row + j] = weights[row + j] * (y[row + j] - inner) * p.scale; }
  //#else
  parts[t] = most;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (t < step) { parts[t] = max(parts[t], parts[t + step]); }
    workgroupBarrier();
  }
  let top = parts[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var j = t; j < p.keys; j += 64u) {
    let e = exp(y[row + j] - top);
    y[row + j] = e;
    sum += e;
  }
  let all = total(t, poisoned(sum, scores, MOST_SCORE));
  for (var j = t; j < p.keys; j += 64u) { y[row + j] = y[row + j] / all; }
  //#end
}
