// The end of the SGPM (SPEC B1, E2), in place, for open samples; weights are (C, K), one row per output channel. By the gates:
//   CHANNEL    y[:, c] = x[:, c] + σ(z_c)·(w h + bias)_c for the open channels: nothing else is computed or touched
//   BRANCHES   y = x + Σ over the open branches of σ(z_k)·(w h)_k, + bias: each has its K / BRANCHES columns of h and w
//   otherwise  y = x + σ(z)·(w h + bias): one gate for all
// An invocation owns $TM rows × 1 channel; a workgroup 8 channels × 8 row groups.
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

// The gate's amplitude: σ(z), 1 + exp(−z) without overflow for an open gate (z > 0 unless forced open).
fn amplitude(at: u32) -> f32 { return 1.0 / (1.0 + exp(-max(z[at], -80.0))); }

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  if (!region_is_open(group.z)) { return; }
  let sample = region_sample(group.z);
  let place = group.x * 8u + local.x;
  let row0 = (group.y * 8u + local.y) * $TMu;
  let n = p.k / WIDTH;
  //#if CHANNEL
  let open = control[1u + p.samples + sample];
  if (group.x * 8u >= open) { return; }
  region_count(local.x + local.y, p.counter);
  if (place >= open || row0 >= p.rows) { return; }
  let channel = control[1u + 2u * p.samples + sample * p.channels + place];
  //#else
  //#if BRANCHES
  let open = control[1u + p.samples + sample];
  if (local.x + local.y == 0u) { atomicAdd(&counters[p.counter], open); }
  //#else
  region_count(local.x + local.y, p.counter);
  //#end
  if (place >= p.channels || row0 >= p.rows) { return; }
  let channel = place;
  //#end
  //#unroll r TM
  let base_${r} = (sample * p.rows + min(row0 + ${r}u, p.rows - 1u)) * n;
  //#end
  //#if BRANCHES
  //#unroll r TM
  var all_${r} = 0.0;
  //#end
  let width = n / $BRANCHESu;
  for (var i_open = 0u; i_open < open; i_open++) {
    let branch = control[1u + 2u * p.samples + sample * $BRANCHESu + i_open];
    //#unroll r TM
    var acc_${r} = Element(0.0);
    //#end
    for (var i = branch * width; i < (branch + 1u) * width; i++) {
      let v = w[channel * n + i];
      //#unroll r TM
      acc_${r} = fma(h[base_${r} + i], v, acc_${r});
      //#end
    }
    let gate = amplitude(sample * $BRANCHESu + branch);
    //#unroll r TM
    //#if SCALAR
    all_${r} += gate * acc_${r};
    //#else
    all_${r} += gate * ((acc_${r}.x + acc_${r}.y) + (acc_${r}.z + acc_${r}.w));
    //#end
    //#end
  }
  //#unroll r TM
  if (row0 + ${r}u < p.rows) { y[(sample * p.rows + row0 + ${r}u) * p.channels + channel] += all_${r} + bias[channel]; }
  //#end
  //#else
  //#unroll r TM
  var acc_${r} = Element(0.0);
  //#end
  for (var i = 0u; i < n; i++) {
    let v = w[channel * n + i];
    //#unroll r TM
    acc_${r} = fma(h[base_${r} + i], v, acc_${r});
    //#end
  }
  //#if CHANNEL
  let gate = amplitude(sample * p.channels + channel);
  //#else
  let gate = amplitude(sample);
  //#end
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
  //#end
}
