// y[b, n, c] = f[b, n, c] · a[b, c] (+ x[b, n, c]): a per-sample, per-channel amplitude on tokens; with PER_GATE one for each run
// of so many channels.
struct Params { count: u32, tokens: u32, channels: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> f: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
//#if RESIDUAL
@group(0) @binding(3) var<storage, read> x: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  let c = i % p.channels;
  let sample = i / (p.channels * p.tokens);
  //#if PER_GATE
  let at = sample * (p.channels / $PER_GATEu) + c / $PER_GATEu;
  //#if RESIDUAL
  y[i] = x[i] + f[i] * a[at];
  //#else
  y[i] = f[i] * a[at];
  //#end
  //#else
  //#if RESIDUAL
  y[i] = x[i] + f[i] * a[sample * p.channels + c];
  //#else
  y[i] = f[i] * a[sample * p.channels + c];
  //#end
  //#end
}
