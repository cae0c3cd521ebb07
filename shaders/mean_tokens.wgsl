// Mean over tokens: x (B, N, C) → y (B, C); BACKWARD spreads x (B, C) / N over tokens → y (B, N, C). A workgroup takes 16 channels of one sample; 4 invocations share
// a channel and sum every fourth token, in runs that keep the rounding chain short.
struct Params { tokens: u32, channels: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

//#if !BACKWARD
var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let channel = group.x * 16u + t % 16u;
  let base = group.y * p.tokens * p.channels + min(channel, p.channels - 1u);
  var sum = 0.0;
  for (var start = t / 16u; start < p.tokens; start += 256u) {
    var run = 0.0;
    for (var i = start; i < min(start + 256u, p.tokens); i += 4u) { run += x[base + i * p.channels]; }
    sum += run;
  }
  parts[t] = sum;
  workgroupBarrier();
  if (t < 16u && channel < p.channels) {
    let all = (parts[t] + parts[t + 16u]) + (parts[t + 32u] + parts[t + 48u]);
    y[group.y * p.channels + channel] = all / f32(p.tokens);
  }
}
//#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  let size = p.tokens * p.channels;
  if (i >= size) { return; }
  y[group.z * size + i] = x[group.z * p.channels + i % p.channels] / f32(p.tokens);
}
//#end
