// σ(x) of e^−|x| alone: the other one overflows. What is no number stays none, which it does not through exp on every driver; by bits,
// since a compiler may assume that there is no NaN.
fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(select(1.0, e, x < 0.0) / (1.0 + e), x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);
}
