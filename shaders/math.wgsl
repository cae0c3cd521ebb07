// Shared arithmetic. Included by the kernels that need it.
//#include finite.wgsl

// erfc(z) for z ≥ 0: Abramowitz & Stegun 7.1.26, |error| ≤ 1.5e-7, without cancellation in the tail.
fn erfc_positive(z: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return poly * exp(-z * z);
}

// Exact (erf) GELU: x·Φ(x).
fn gelu(x: vec4f) -> vec4f {
  let tail = 0.5 * erfc_positive(abs(x) * 0.7071067811865476);
  return kept(x * select(1.0 - tail, tail, x < vec4f(0.0)), x);
}

fn activate(x: vec4f) -> vec4f {
  //#if GELU
  return gelu(x);
  //#else
  //#if RELU
  return relu(x);
  //#else
  return x;
  //#end
  //#end
}
