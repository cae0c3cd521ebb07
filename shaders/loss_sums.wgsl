// Sums that the loss is made of, per sample and block of $BLOCK voxels:
//   0 Σ p·y   1 Σ p²   2 Σ y   3 Σ σ(t)^γ·softplus(t) on lesion voxels   4 the same elsewhere   5 Σ softplus(t)
//   6 Σ [s > 0]·y   7 Σ [s > 0]: of the mask as it is thresholded, for its IoU
// A sum over blocks (loss_value.wgsl) finishes them; the order is fixed.
struct Params { voxels: u32, blocks: u32, gamma: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (B, blocks, 8)
//#include loss_common.wgsl

var<workgroup> parts: array<array<f32, 8>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let base = group.y * p.voxels;
  let stop = min((group.x + 1u) * $BLOCKu, p.voxels);
  var sums = array<f32, 8>(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
  for (var i = group.x * $BLOCKu + t; i < stop; i += 256u) {
    let s = logits[base + i];
    let lesion = targets[base + i] > 0.5;
    let v = select(s, -s, lesion);
    let prob = sigmoid(s);
    let ce = softplus(v);
    let focal = focus(v, p.gamma) * ce;
    sums[0] += select(0.0, prob, lesion);
    sums[1] += prob * prob;
    sums[2] += select(0.0, 1.0, lesion);
    sums[3] += select(0.0, focal, lesion);
    sums[4] += select(focal, 0.0, lesion);
    sums[5] += ce;
    let marked = select(0.0, 1.0, s > 0.0);
    sums[6] += select(0.0, marked, lesion);
    sums[7] += marked;
  }
  parts[t] = sums;
  workgroupBarrier();
  for (var step = 128u; step > 0u; step /= 2u) {
    if (t < step) {
      for (var k = 0u; k < 8u; k++) { parts[t][k] += parts[t + step][k]; }
    }
    workgroupBarrier();
  }
  if (t < 8u) { y[(group.y * p.blocks + group.x) * 8u + t] = parts[0][t]; }
}
