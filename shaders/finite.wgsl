// NaN does not survive max and comparisons, nor exp on every driver; and softmax, LayerNorm and the position encoding make
// something ordinary of values that no network computes. Where that could happen, a kernel passes its result through
// `poisoned` together with a sum or a bound of what went into it: NaN then comes out, and reaches what is checked at the end
// of a program. By bits: a compiler may assume that there is no NaN.
const MOST_VARIANCE = 1.0e16; // and most that goes into an activation
const MOST_SCORE = 1.0e10;  // of the sum of a softmax's scores
const MOST_PADDING = 1.0e34; // of what counts padded keys: where there are none, it is about -1e30

fn poisoned(value: f32, suspect: f32, most: f32) -> f32 {
  let bits = bitcast<u32>(suspect);
  return select(value, bitcast<f32>(bits | 0x7fc00000u), (bits & 0x7fffffffu) > bitcast<u32>(most));
}

// An activation's `y` of x, but x itself where that is NaN or so large that a negative one must not become zero.
fn kept(y: vec4f, x: vec4f) -> vec4f {
  return select(y, x, (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(bitcast<u32>(MOST_VARIANCE)));
}

fn relu(x: vec4f) -> vec4f { return kept(max(x, vec4f(0.0)), x); }
