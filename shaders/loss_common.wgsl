// The Zoom Loss (SPEC B2) from logits: what its passes share. t = −s on lesion voxels, s elsewhere, so that
// 1 − p_t = σ(t) and −log p_t = softplus(t). Finite in value and gradient for |s| up to 1e4.

// log(1 + e) for 0 ≤ e ≤ 1 as 2·atanh(e/(2 + e)): WGSL's log is allowed an absolute error of 2^-21 near 1.
fn log1p(e: f32) -> f32 {
  let u = e / (2.0 + e);
  let s = u * u;
  return 2.0 * u * (1.0 + s * (0.33333333 + s * (0.2 + s * (0.14285714 + s * (0.11111111 + s * (0.09090909 + s * 0.07692308))))));
}
fn softplus(t: f32) -> f32 { return max(t, 0.0) + log1p(exp(-abs(t))); }
//#include sigmoid.wgsl
// σ(t)^γ; γ = 2, the default, without a logarithm.
fn focus(t: f32, gamma: f32) -> f32 {
  let s = sigmoid(t);
  return select(exp(-gamma * softplus(-t)), s * s, gamma == 2.0);
}
