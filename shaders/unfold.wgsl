// The patches that a convolution gathers, as a matrix: y[row, tap · C + c] = x at tap of output voxel `row`, zero in
// the padding (im2col), for the gradient of its weight. x (B, D, H, W, C) channels-last. VEC4 moves four channels at a
// time; counts are then in vec4.
struct Params {
  count: u32, channels: u32, taps: u32, kernel: u32, stride: u32, padding: u32, dilation: u32,
  in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32, grid_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let c = e % p.channels;
  let tap = (e / p.channels) % p.taps;
  let row = e / (p.channels * p.taps);
  let w = row % p.out_w;
  let h = (row / p.out_w) % p.out_h;
  let d = (row / (p.out_w * p.out_h)) % p.out_d;
  let sample = row / (p.out_w * p.out_h * p.out_d);
  // Unsigned on purpose: a coordinate below zero wraps round and fails the same comparison.
  let xw = w * p.stride + (tap % p.kernel) * p.dilation - p.padding;
  let xh = h * p.stride + ((tap / p.kernel) % p.kernel) * p.dilation - p.padding;
  let xd = d * p.stride + (tap / (p.kernel * p.kernel)) * p.dilation - p.padding;
  var value = Element();
  if (xw < p.in_w && xh < p.in_h && xd < p.in_d) {
    value = x[(((sample * p.in_d + xd) * p.in_h + xh) * p.in_w + xw) * p.channels + c];
  }
  y[e] = value;
}
