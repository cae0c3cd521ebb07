// One group's pieces (spatial_moments.wgsl) together, for every sample; each of its channels is given the result, (batch, 2, channels):
//   forward   mean and 1/sqrt(variance + eps): the pieces' Σ (x − mean)², and what their means are apart (Chan et al. 1979)
//   BACKWARD  the means of dy·weight and of dy·weight·x̂ over the group
//   ROW_PER_INVOCATION   one invocation a group of a sample: for CPU adapters
//   otherwise            a workgroup of 64
struct Params {
  rows: u32, groups: u32, width: u32, voxels: u32, piece: u32, pieces: u32, eps: f32, grid_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> moments: array<f32>;
//#if BACKWARD
@group(0) @binding(2) var<storage, read> weight: array<f32>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//#if !BACKWARD
//#include finite.wgsl
//#end

//#if ROW_PER_INVOCATION
const STEP = 1u;
fn sum_of(t: u32, value: f32) -> f32 { return value; }
//#else
const STEP = 64u;
var<workgroup> parts: array<f32, 64>;

//#include workgroup_reduce.wgsl NAME=sum_of
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  //#if ROW_PER_INVOCATION
  let row = (group.x + group.y * p.grid_x) * 64u + t;
  let start = 0u;
  //#else
  let row = group.x + group.y * p.grid_x;
  let start = t;
  //#end
  if (row >= p.rows) { return; }
  let channels = p.groups * p.width;
  let batch = row / p.groups;
  let first = row % p.groups * p.width;
  let base = batch * p.pieces * 2u * channels + first;
  let size = f32(p.voxels) * f32(p.width);
  var sum = 0.0;
  var second = 0.0;
  for (var i = start; i < p.pieces * p.width; i += STEP) {
    let at = base + i / p.width * 2u * channels + i % p.width;
    //#if BACKWARD
    sum += moments[at] * weight[first + i % p.width];
    second += moments[at + channels] * weight[first + i % p.width];
    //#else
    let voxels = min(p.piece, p.voxels - i / p.width * p.piece);
    sum += moments[at] * f32(voxels);
    //#end
  }
  let mean = sum_of(t, sum) / size;
  //#if BACKWARD
  let other = sum_of(t, second) / size;
  //#else
  for (var i = start; i < p.pieces * p.width; i += STEP) {
    let at = base + i / p.width * 2u * channels + i % p.width;
    let voxels = min(p.piece, p.voxels - i / p.width * p.piece);
    let apart = moments[at] - mean;
    second += moments[at + channels] + f32(voxels) * apart * apart;
  }
  let variance = sum_of(t, second) / size;
  let other = poisoned(1.0 / sqrt(variance + p.eps), variance, MOST_VARIANCE);
  //#end
  let to = batch * 2u * channels + first;
  for (var i = start; i < p.width; i += STEP) {
    y[to + i] = mean;
    y[to + channels + i] = other;
  }
}
