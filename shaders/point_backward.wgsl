// Gradient of one of the point embeddings: the sum of dy (rows, C) over the points that carry its label.
struct Params { rows: u32, channels: u32, label: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> points: array<f32>; // (rows, 4)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let c = group.x * 64u + t;
  if (c >= p.channels) { return; }
  var sum = 0.0;
  for (var row = 0u; row < p.rows; row++) {
    if (points[4u * row + 3u] == p.label) { sum += dy[row * p.channels + c]; }
  }
  y[c] = sum;
}
