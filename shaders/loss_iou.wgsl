// IoU of mask 0 as it is thresholded with the whole lesion, in the cube and beyond, of the sample whose sums (loss_value.wgsl) begin at
// `at`; nothing found of nothing is right.
fn real_iou(at: u32) -> f32 {
  let both = sums[at + 6u];
  let either = sums[at + 2u] + sums[at + 10u] + sums[at + 7u] - both;
  return select(both / either, 1.0, either == 0.0);
}
