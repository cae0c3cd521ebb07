// The end of the SGPM (SPEC B1), in place: y[:, c] = x[:, c] + σ(z_c)·(project(h)_c + bias_c) for the open
// channels of the open samples; nothing else is computed or touched. Weights are (C, K), one row per output
// channel, so that an open channel's weights lie together.
// An invocation owns $TM rows × 1 open channel; a workgroup 8 channels × 8 row groups.
struct Params { rows: u32, k: u32, channels: u32, samples: u32, counter: u32 }
//#if SCALAR
alias Element = f32;
const WIDTH = 1u;
//#else
alias Element = vec4f;
const WIDTH = 4u;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> h: array<Element>;
@group(0) @binding(2) var<storage, read> w: array<Element>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> z: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
//#include region.wgsl

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  if (!region_is_open(group.z)) { return; }
  let sample = region_sample(group.z);
  let open = control[1u + p.samples + sample];
  if (group.x * 8u >= open) { return; }
  region_count(local.x + local.y, p.counter);
  let place = group.x * 8u + local.x;
  let row0 = (group.y * 8u + local.y) * $TMu;
  if (place >= open || row0 >= p.rows) { return; }
  let channel = control[1u + 2u * p.samples + sample * p.channels + place];
  let n = p.k / WIDTH;
  //#unroll r TM
  let base_${r} = (sample * p.rows + min(row0 + ${r}u, p.rows - 1u)) * n;
  var acc_${r} = Element(0.0);
  //#end
  for (var i = 0u; i < n; i++) {
    let v = w[channel * n + i];
    //#unroll r TM
    acc_${r} = fma(h[base_${r} + i], v, acc_${r});
    //#end
  }
  // The gate's amplitude: σ(z), 1 + exp(−z) without overflow for an open channel (z > 0 unless forced open).
  let gate = 1.0 / (1.0 + exp(-max(z[sample * p.channels + channel], -80.0)));
  //#unroll r TM
  if (row0 + ${r}u < p.rows) {
    let at = (sample * p.rows + row0 + ${r}u) * p.channels + channel;
    //#if SCALAR
    y[at] += gate * (acc_${r} + bias[channel]);
    //#else
    y[at] += gate * ((acc_${r}.x + acc_${r}.y) + (acc_${r}.z + acc_${r}.w) + bias[channel]);
    //#end
  }
  //#end
}
