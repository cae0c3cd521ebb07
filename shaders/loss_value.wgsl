// From block sums (B, blocks, 8) to y: per sample ($SUMS) its eight sums, two voxel weights/n and the lesion's voxels beyond the cube,
// then the loss (5): total, Dice, focal, cross-entropy and, with IOU, the squared error of the estimate in `iou` (B, 4) of mask 0's
// IoU with the whole lesion (SPEC E1), of which `outside` (B) voxels are not in the cube; means over the batch. One workgroup. SPEC B2: w_v = ζ·n/max(n₊, 1) on lesion voxels, (1 − ζ)·n/max(n₋, 1) elsewhere; ζ counts as
// 0 without a lesion voxel and as 1 with nothing else.
struct Params { samples: u32, blocks: u32, voxels: u32, zeta: f32, smoothing: f32, dice: f32, focal: f32, ce: f32, iou: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> blocks: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
//#if IOU
@group(0) @binding(3) var<storage, read> iou: array<f32>;
@group(0) @binding(4) var<storage, read> outside: array<f32>;
//#include loss_iou.wgsl
//#end

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) t: u32) {
  var total = vec4f(0.0);
  for (var sample = 0u; sample < p.samples; sample++) {
    for (var k = 0u; k < 8u; k++) {
      var sum = 0.0;
      for (var b = t; b < p.blocks; b += 64u) { sum += blocks[(sample * p.blocks + b) * 8u + k]; }
      parts[t] = sum;
      workgroupBarrier();
      for (var step = 32u; step > 0u; step /= 2u) {
        if (t < step) { parts[t] += parts[t + step]; }
        workgroupBarrier();
      }
      if (t == 0u) { sums[sample * $SUMSu + k] = parts[0]; }
      workgroupBarrier();
    }
    if (t == 0u) {
      let at = sample * $SUMSu;
      let n = f32(p.voxels);
      let positive = sums[at + 2u];
      let negative = n - positive;
      var zeta = p.zeta;
      if (negative == 0.0) { zeta = 1.0; }
      if (positive == 0.0) { zeta = 0.0; }
      let w_lesion = zeta / max(positive, 1.0);
      let w_rest = (1.0 - zeta) / max(negative, 1.0);
      sums[at + 8u] = w_lesion;
      sums[at + 9u] = w_rest;
      let dice = 1.0 - (2.0 * sums[at] + p.smoothing) / (sums[at + 1u] + positive + p.smoothing);
      let focal = w_lesion * sums[at + 3u] + w_rest * sums[at + 4u];
      var miss = 0.0;
      sums[at + 10u] = 0.0;
      //#if IOU
      sums[at + 10u] = outside[sample];
      miss = iou[sample * 4u] - real_iou(at);
      //#end
      total += vec4f(dice, focal, sums[at + 5u] / n, miss * miss);
    }
  }
  if (t == 0u) {
    total /= f32(p.samples);
    let at = p.samples * $SUMSu;
    sums[at] = p.dice * total.x + p.focal * total.y + p.ce * total.z + p.iou * total.w;
    sums[at + 1u] = total.x;
    sums[at + 2u] = total.y;
    sums[at + 3u] = total.z;
    sums[at + 4u] = total.w;
  }
}
