// The gradient for a convolution's weight, of any geometry: dw[tap, i, o] = Σ over output voxels of x[voxel read, i of o's group] · dy[voxel, o].
// A workgroup makes one tile of one tap; its invocations share the voxels and add up in a fixed order. Channels-last; dw (taps, inputs, O).
//   N_VEC4     four outputs of a group at a time       X_VEC4   four inputs at a time
//   DEPTHWISE  one channel a group, in and out: four groups at a time
struct Params {
  rows: u32, groups: u32, inputs: u32, outputs: u32, tiles: u32,
  in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32,
  kernel_d: u32, kernel_h: u32, kernel_w: u32, stride_d: u32, stride_h: u32, stride_w: u32,
  padding_d: u32, padding_h: u32, padding_w: u32, dilation_d: u32, dilation_h: u32, dilation_w: u32,
  grid_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if X_VEC4
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
const I = 4u;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
const I = 1u;
//#end
//#if N_VEC4
const N = 4u;
//#else
const N = 1u;
//#end
@group(0) @binding(2) var<storage, read> dy: array<$SUM>;
@group(0) @binding(3) var<storage, read_write> dw: array<$SUM>;

var<workgroup> sums: array<$SUM, $SHARED>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  // Uniform within the workgroup, so that the barriers below are.
  let tile = group.x + group.y * p.grid_x;
  if (tile >= p.tiles) { return; }
  let channels = p.groups * p.outputs;
  let stored = p.groups * p.inputs;
  let o = tile % (channels / N) * N;
  //#if DEPTHWISE
  let i = 0u;
  let tap = tile / (channels / N);
  let first = o;
  //#else
  let i = tile / (channels / N) % (p.inputs / I) * I;
  let tap = tile / (channels / N * (p.inputs / I));
  let first = o / p.outputs * p.inputs + i;
  //#end
  // Unsigned on purpose: a coordinate below zero wraps round and fails the same comparison as one beyond the volume.
  let shift_d = tap / (p.kernel_h * p.kernel_w) * p.dilation_d - p.padding_d;
  let shift_h = tap / p.kernel_w % p.kernel_h * p.dilation_h - p.padding_h;
  let shift_w = tap % p.kernel_w * p.dilation_w - p.padding_w;
  //#unroll j TILE
  var sum${j} = $SUM();
  //#end
  for (var row = t; row < p.rows; row += 64u) {
    let d = row / (p.out_w * p.out_h) % p.out_d * p.stride_d + shift_d;
    let h = row / p.out_w % p.out_h * p.stride_h + shift_h;
    let w = row % p.out_w * p.stride_w + shift_w;
    if (d >= p.in_d || h >= p.in_h || w >= p.in_w) { continue; }
    let sample = row / (p.out_w * p.out_h * p.out_d);
    let v = x[((((sample * p.in_d + d) * p.in_h + h) * p.in_w + w) * stored + first) / I];
    let by = dy[(row * channels + o) / N];
    //#if SPLIT
    //#unroll j TILE
    sum${j} += v[${j}] * by;
    //#end
    //#else
    sum0 += v * by;
    //#end
  }
  //#unroll j TILE
  sums[t * $TILEu + ${j}u] = sum${j};
  //#end
  for (var part = 32u; part > 0u; part /= 2u) {
    workgroupBarrier();
    if (t < part) {
      //#unroll j TILE
      sums[t * $TILEu + ${j}u] += sums[(t + part) * $TILEu + ${j}u];
      //#end
    }
  }
  workgroupBarrier();
  if (t < $TILEu) { dw[((tap * p.inputs + i + t) * channels + o) / N] = sums[t]; }
}
