// Softmax over the last axis, y = e^(x − max) / Σ e^(x − max), or with BACKWARD its gradient: y ∘ (dy − Σ y·dy).
//   ROW_PER_INVOCATION   one invocation a row: no barriers; for short rows and CPU adapters
//   otherwise            a workgroup of 64 a row
// VEC4 takes four columns at a time; `columns` is then in vec4.
struct Params { rows: u32, columns: u32, grid_x: u32 }
//#if VEC4
alias Element = vec4f;
alias Bits = vec4u;
//#else
alias Element = f32;
alias Bits = u32;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>; // BACKWARD: what the forward pass gave
//#if BACKWARD
@group(0) @binding(2) var<storage, read> dy: array<Element>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<Element>;
//#if !BACKWARD
//#include finite.wgsl
//#end

fn total(v: Element) -> f32 {
  //#if VEC4
  return (v.x + v.y) + (v.z + v.w);
  //#else
  return v;
  //#end
}

fn largest(v: Element) -> f32 {
  //#if VEC4
  return max(max(v.x, v.y), max(v.z, v.w));
  //#else
  return v;
  //#end
}

//#if ROW_PER_INVOCATION
fn sum_of(t: u32, value: f32) -> f32 { return value; }
fn max_of(t: u32, value: f32) -> f32 { return value; }
const STEP = 1u;
//#else
var<workgroup> parts: array<f32, 64>;
const STEP = 64u;

//#include workgroup_reduce.wgsl NAME=sum_of
//#include workgroup_reduce.wgsl NAME=max_of LARGEST=1
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  //#if ROW_PER_INVOCATION
  let row = (group.x + group.y * p.grid_x) * 64u + t;
  let start = 0u;
  //#else
  let row = group.x + group.y * p.grid_x;
  let start = t;
  //#end
  if (row >= p.rows) { return; }
  let base = row * p.columns;
  //#if BACKWARD
  var products = Element();
  for (var i = start; i < p.columns; i += STEP) { products += x[base + i] * dy[base + i]; }
  let inner = sum_of(t, total(products));
  for (var i = start; i < p.columns; i += STEP) { y[base + i] = x[base + i] * (dy[base + i] - inner); }
  //#else
  // What is NaN is kept apart: max may lose it. Masked scores may be as low as one likes.
  var most = -3.0e38;
  var scores = Element();
  for (var i = start; i < p.columns; i += STEP) {
    most = max(most, largest(x[base + i]));
    let v = x[base + i];
    scores += select(Element(), v, (bitcast<Bits>(v) & Bits(0x7fffffffu)) > Bits(0x7f800000u));
  }
  let top = max_of(t, most);
  var sums = Element();
  for (var i = start; i < p.columns; i += STEP) {
    let e = exp(x[base + i] - top);
    y[base + i] = e;
    sums += e;
  }
  let all = sum_of(t, poisoned(total(sums), total(scores), 3.4e38));
  for (var i = start; i < p.columns; i += STEP) { y[base + i] = y[base + i] / all; }
  //#end
}
