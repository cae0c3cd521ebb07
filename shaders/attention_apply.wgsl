// Applies attention weights m (B, heads, Tq, Tk) to a tensor x of heads · head_dim channels, per head:
//   forward     y[b, i, c] = Σ_j m[b, h, i, j] · x[b, j, c]     dq = ds·k
//   TRANSPOSED  y[b, j, c] = Σ_i m[b, h, i, j] · x[b, i, c]     dk = dsᵀ·q, dv = wᵀ·dout
struct Params { count: u32, heads: u32, head_dim: u32, queries: u32, keys: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> m: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let width = p.heads * p.head_dim;
  let c = e % width;
  let head = c / p.head_dim;
  //#if TRANSPOSED
  let token = (e / width) % p.keys;
  let batch = e / (width * p.keys);
  let base = (batch * p.heads + head) * p.queries * p.keys + token;
  var sum = 0.0;
  for (var i = 0u; i < p.queries; i++) { sum += m[base + i * p.keys] * x[(batch * p.queries + i) * width + c]; }
  //#else
  let token = (e / width) % p.queries;
  let batch = e / (width * p.queries);
  let base = ((batch * p.heads + head) * p.queries + token) * p.keys;
  var sum = 0.0;
  for (var j = 0u; j < p.keys; j++) { sum += m[base + j] * x[(batch * p.keys + j) * width + c]; }
  //#end
  y[e] = sum;
}
