// From the blocks' sums of squares (gradient_squares.wgsl) to what AdamW does with its gradients, in one workgroup:
//   norm = factor·√Σ g²    the global norm of the mean gradient
//   scale = factor·min(1, clip/norm)    what AdamW multiplies every gradient by; a clip of 0 clips nothing
// A norm that is not finite is reported as such, and applies nothing: AdamW then leaves everything as it is.
struct Params { blocks: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec2f>;       // (Σ g², how many not finite) of each block
@group(0) @binding(2) var<storage, read> step: array<f32>;          // [2] factor, [3] clip: see adamw.wgsl
@group(0) @binding(3) var<storage, read_write> report: array<u32>;  // norm and scale as bits, 1 to apply, 0

var<workgroup> sums: array<vec2f, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32) {
  var sum = vec2f(0.0);
  for (var i = t; i < p.blocks; i += 256u) { sum += parts[i]; }
  sums[t] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0u; half /= 2u) {
    if (t < half) { sums[t] += sums[t + half]; }
    workgroupBarrier();
  }
  if (t > 0u) { return; }
  let factor = step[2];
  let clip = step[3];
  let norm = abs(factor) * sqrt(sums[0].x);
  var bits = bitcast<u32>(norm);
  // As bits: WGSL has no NaN to write. Too large a square for float32 is ∞ already.
  if (sums[0].y > 0.0) { bits = 0x7fc00000u; }
  let finite = (bits & 0x7f800000u) != 0x7f800000u;
  var scale = factor;
  if (finite && clip > 0.0 && norm > clip) { scale = factor * (clip / norm); }
  report[0] = bits;
  report[1] = bitcast<u32>(scale);
  report[2] = select(0u, 1u, finite);
  report[3] = 0u;
}
