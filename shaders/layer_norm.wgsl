// LayerNorm over the last axis: y = (x − mean)/sqrt(variance + eps)·weight + bias, optionally through GELU.
// Centred: the mean first, then the mean of squared deviations (E[x²] − E[x]² would cancel).
// In a channels-last volume this is also LayerNorm3d.
//   ROW_PER_INVOCATION   one invocation a row: no barriers; for short rows and CPU adapters
//   otherwise            a workgroup of 64 a row
struct Params { rows: u32, channels: u32, eps: f32, grid_x: u32, counter: u32 }
//#if SCALAR
alias Element = f32;
const WIDTH = 1u;
//#else
alias Element = vec4f;
const WIDTH = 4u;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> weight: array<Element>;
@group(0) @binding(3) var<storage, read> bias: array<Element>;
@group(0) @binding(4) var<storage, read_write> y: array<Element>;
//#if REGION
//#include region.wgsl
//#end
//#include math.wgsl

fn total(v: Element) -> f32 {
  //#if SCALAR
  return v;
  //#else
  return v.x + v.y + v.z + v.w;
  //#end
}

fn inverse_deviation(squares: f32) -> f32 {
  let variance = squares / f32(p.channels);
  return poisoned(1.0 / sqrt(variance + p.eps), variance, MOST_VARIANCE);
}

fn result(i: u32, channel: u32, mean: f32, scale: f32) {
  let v = (x[i] - mean) * scale * weight[channel] + bias[channel];
  //#if SCALAR
  y[i] = activate(vec4f(v)).x;
  //#else
  y[i] = activate(v);
  //#end
}

//#if ROW_PER_INVOCATION
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  //#if REGION
  if (!region_is_open(group.z)) { return; }
  region_count(t, p.counter);
  let first = region_sample(group.z) * p.rows;
  //#else
  let first = 0u;
  //#end
  let row = (group.x + group.y * p.grid_x) * 64u + t;
  if (row >= p.rows) { return; }
  let n = p.channels / WIDTH;
  let base = (first + row) * n;
  var sum = 0.0;
  for (var i = 0u; i < n; i++) { sum += total(x[base + i]); }
  let mean = sum / f32(p.channels);
  var squares = 0.0;
  for (var i = 0u; i < n; i++) { let v = x[base + i] - mean; squares += total(v * v); }
  let scale = inverse_deviation(squares);
  for (var i = 0u; i < n; i++) { result(base + i, i, mean, scale); }
}
//#else
var<workgroup> parts: array<f32, 64>;

//#include workgroup_reduce.wgsl NAME=reduce

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  //#if REGION
  if (!region_is_open(group.z)) { return; }
  region_count(t, p.counter);
  let first = region_sample(group.z) * p.rows;
  //#else
  let first = 0u;
  //#end
  let row = group.x + group.y * p.grid_x;
  if (row >= p.rows) { return; }
  let n = p.channels / WIDTH;
  let base = (first + row) * n;
  var sum = 0.0;
  for (var i = t; i < n; i += 64u) { sum += total(x[base + i]); }
  let mean = reduce(t, sum) / f32(p.channels);
  var squares = 0.0;
  for (var i = t; i < n; i += 64u) { let v = x[base + i] - mean; squares += total(v * v); }
  let scale = inverse_deviation(reduce(t, squares));
  for (var i = t; i < n; i += 64u) { result(base + i, i, mean, scale); }
}
//#end
