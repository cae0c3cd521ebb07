// Sums that the loss is made of, per sample and block of $BLOCK voxels:
//   0 Σ p·y   1 Σ p²   2 Σ y   3 Σ σ(t)^γ·softplus(t) on lesion voxels   4 the same elsewhere   5 Σ softplus(t)
// A sum over blocks (loss_value.wgsl) finishes them; the order is fixed.
struct Params { voxels: u32, blocks: u32, gamma: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (B, blocks, 8)
//#include loss_common.wgsl

var<workgroup> parts: array<array<f32, 6>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let base = group.y * p.voxels;
  let stop = min((group.x + 1u) * $BLOCKu, p.voxels);
  var sums = array<f32, 6>(0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
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
  }
  parts[t] = sums;
  workgroupBarrier();
  for (var step = 128u; step > 0u; step /= 2u) {
    if (t < step) {
      for (var k = 0u; k < 6u; k++) { parts[t][k] += parts[t + step][k]; }
    }
    workgroupBarrier();
  }
  if (t < 6u) { y[(group.y * p.blocks + group.x) * 8u + t] = parts[0][t]; }
}
