// What norms over volumes add up, in pieces: of every `piece` voxels of x (batch, voxels, channels), for each channel,
//   forward   the mean and Σ (x − mean)²
//   BACKWARD  Σ dy and Σ dy·x̂, x̂ = (x − mean)/σ with `statistics` (batch, 2, channels) of mean and 1/σ
// → y (batch, pieces, 2, channels). An invocation takes a channel of a piece. VEC4 takes four channels, as `channels` then counts.
struct Params { count: u32, voxels: u32, channels: u32, piece: u32, pieces: u32, grid_x: u32 }
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
//#if BACKWARD
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read> statistics: array<Element>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let channel = e % p.channels;
  let piece = e / p.channels % p.pieces;
  let batch = e / (p.channels * p.pieces);
  let first = piece * p.piece;
  let voxels = min(p.piece, p.voxels - first);
  let base = (batch * p.voxels + first) * p.channels + channel;
  let to = e / p.channels * 2u * p.channels + channel;
  var sum = Element();
  var second = Element();
  //#if BACKWARD
  let mean = statistics[batch * 2u * p.channels + channel];
  let scale = statistics[(batch * 2u + 1u) * p.channels + channel];
  for (var i = 0u; i < voxels; i++) {
    let at = base + i * p.channels;
    sum += dy[at];
    second += dy[at] * ((x[at] - mean) * scale);
  }
  y[to] = sum;
  //#else
  for (var i = 0u; i < voxels; i++) { sum += x[base + i * p.channels]; }
  let mean = sum / f32(voxels);
  for (var i = 0u; i < voxels; i++) {
    let v = x[base + i * p.channels] - mean;
    second += v * v;
  }
  y[to] = mean;
  //#end
  y[to + p.channels] = second;
}
