// y = f(a) or f(a, b[i mod period]), element by element, f being $FUNCTION: products, differences, the sigmoid, leaky ReLU and
// their gradients (a is then dy). VEC4 takes four elements at a time; counts are then in vec4.
struct Params { count: u32, period: u32, factor: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
alias Bits = vec4u;
//#else
alias Element = f32;
alias Bits = u32;
//#end
@group(0) @binding(1) var<storage, read> a: array<Element>;
//#if BINARY
@group(0) @binding(2) var<storage, read> b: array<Element>;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<Element>;

// `value`, but x where that is NaN: by bits, because a compiler may assume that there is none.
fn unless_nan(value: Element, x: Element) -> Element {
  return select(value, x, (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u));
}

fn multiply(u: Element, v: Element) -> Element { return u * v; }
fn subtract(u: Element, v: Element) -> Element { return u - v; }
fn scale(u: Element) -> Element { return u * p.factor; }

// 1/(1 + e^−u), of e^−|u| alone: the other one overflows.
fn sigmoid(u: Element) -> Element {
  let e = exp(-abs(u));
  return unless_nan(select(Element(1.0), e, u < Element(0.0)) / (1.0 + e), u);
}

// dy · e^−|u| / (1 + e^−|u|)²: s(1 − s) of the sigmoid s would cancel where that is nearly 1.
fn sigmoid_backward(dy: Element, u: Element) -> Element {
  let e = exp(-abs(u));
  return unless_nan(dy * e / ((1.0 + e) * (1.0 + e)), u);
}

// u where it is positive, else factor · u.
fn leaky_relu(u: Element) -> Element {
  return unless_nan(select(u * p.factor, u, u > Element(0.0)), u);
}

fn leaky_relu_backward(dy: Element, u: Element) -> Element {
  return unless_nan(select(dy * p.factor, dy, u > Element(0.0)), u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if BINARY
  y[i] = $FUNCTION(a[i], b[i % p.period]);
  //#else
  y[i] = $FUNCTION(a[i]);
  //#end
}
