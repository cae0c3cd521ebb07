// Sums in the logarithm over the columns of an attention row's tables, for the closed form of the padding (SPEC A1).
fn logsumexp2(a: f32, b: f32) -> f32 {
  let m = max(a, b);
  return poisoned(m + log(exp(a - m) + exp(b - m)), a + b, MOST_PADDING);
}
// logsumexp of column j of rel_h over d' in [start, stop); LOWEST if the range is empty. column_w: of rel_w over h'.
fn column_h(j: u32, start: u32, stop: u32) -> f32 {
  var m = LOWEST;
  for (var i = start; i < stop; i++) { m = max(m, rel_h[i * L + j]); }
  var sum = 0.0;
  var total = 0.0;
  for (var i = start; i < stop; i++) {
    sum += exp(rel_h[i * L + j] - m);
    total += rel_h[i * L + j];
  }
  return select(LOWEST, poisoned(m + log(sum), total, MOST_SCORE), start < stop);
}
fn column_w(j: u32, start: u32, stop: u32) -> f32 {
  var m = LOWEST;
  for (var i = start; i < stop; i++) { m = max(m, rel_w[i * L + j]); }
  var sum = 0.0;
  var total = 0.0;
  for (var i = start; i < stop; i++) {
    sum += exp(rel_w[i * L + j] - m);
    total += rel_w[i * L + j];
  }
  return select(LOWEST, poisoned(m + log(sum), total, MOST_SCORE), start < stop);
}
