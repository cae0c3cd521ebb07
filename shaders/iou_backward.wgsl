// d loss / d iou (B, 4): of the squared error of the first estimate of each sample against mask 0's real IoU, from the sums that
// loss_value.wgsl leaves, times `factor` (the batch's mean included). The other three estimates are of masks that no loss sees.
struct Params { samples: u32, factor: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> iou: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//#include loss_iou.wgsl

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) t: u32) {
  for (var i = t; i < 4u * p.samples; i += 64u) {
    let slope = 2.0 * p.factor * (iou[i] - real_iou((i / 4u) * $SUMSu));
    y[i] = select(0.0, slope, i % 4u == 0u);
  }
}
