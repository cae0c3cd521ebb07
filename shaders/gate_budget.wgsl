// What a gate's logits z (B, gates) and noise say of how much is open (SPEC E2), hard = [z + noise > 0]:
//   ANY        y (B, 1) = 1 where a sample has an open gate, else 0
//   SHARE      y (1) = before + weight · mean over batch and gates of hard; one workgroup, sums in a fixed order
//   otherwise  y (B, gates) = d λ(r − τ)² / dz with hard's derivative that of s = σ((z + noise)/T): 2λ(r − τ)·weight/(B·gates)·s(1 − s)/T,
//              r = (rest + share)/n; budget = λ, τ, rest, n
struct Params { samples: u32, gates: u32, weight: f32, temperature: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//#if SHARE
//#if BEFORE
@group(0) @binding(4) var<storage, read> before: array<f32>;
//#end
var<workgroup> counts: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) t: u32) {
  var open = 0u;
  for (var i = t; i < p.samples * p.gates; i += 64u) { open += u32(z[i] + noise[i] > 0.0); }
  counts[t] = open;
  workgroupBarrier();
  if (t > 0u) { return; }
  for (var i = 1u; i < 64u; i++) { open += counts[i]; }
  var share = p.weight * f32(open) / f32(p.samples * p.gates);
  //#if BEFORE
  share += before[0];
  //#end
  y[0] = share;
}
//#else
//#if ANY
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let sample = group.x * 64u + t;
  if (sample >= p.samples) { return; }
  var any = 0.0;
  for (var i = sample * p.gates; i < (sample + 1u) * p.gates; i++) { any = max(any, f32(z[i] + noise[i] > 0.0)); }
  y[sample] = any;
}
//#else
@group(0) @binding(5) var<storage, read> share: array<f32>;
@group(0) @binding(6) var<storage, read> budget: array<f32>;

//#include sigmoid.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = group.x * 64u + t;
  if (i >= p.samples * p.gates) { return; }
  let over = (budget[2] + share[0]) / budget[3] - budget[1];
  let s = sigmoid((z[i] + noise[i]) / p.temperature);
  y[i] = 2.0 * budget[0] * over * p.weight / f32(p.samples * p.gates) * s * (1.0 - s) / p.temperature;
}
//#end
//#end
