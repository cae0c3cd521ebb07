// Repeats x (outer, inner) along a middle axis: y (outer, count, inner) = x · factor. LARGEST gives it only where `among` (outer,
// count, inner) equals top (outer, inner), divided by how many do. VEC4 takes four of inner at a time, which is then in vec4.
struct Params { size: u32, count: u32, inner: u32, factor: f32, grid_x: u32 }
//#if VEC4
alias Element = vec4f;
alias Bits = vec4u;
//#else
alias Element = f32;
alias Bits = u32;
//#end
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
//#if LARGEST
@group(0) @binding(2) var<storage, read> among: array<Element>;
@group(0) @binding(3) var<storage, read> top: array<Element>;
@group(0) @binding(4) var<storage, read> ties: array<Element>;
//#end
@group(0) @binding(5) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.size) { return; }
  let source = e / (p.count * p.inner) * p.inner + e % p.inner;
  //#if LARGEST
  // Where the largest is NaN, so is the gradient, all along the axis.
  let most = top[source];
  let nan = (bitcast<Bits>(most) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
  let share = select(Element(), x[source] / ties[source], among[e] == most);
  y[e] = select(share, most, nan);
  //#else
  y[e] = x[source] * p.factor;
  //#end
}
