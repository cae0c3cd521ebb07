// y[i0, i1, …] = x[Σ (i − before) · stride], index by index over RANK axes of y: any order of axes, and with PAD `value` where an
// index less what comes before it is outside of x. VEC4 takes four elements of the last axis at a time, as all sizes then count.
struct Params {
  count: u32,
  grid_x: u32,
  value: f32,
  //#unroll a RANK
  size${a}: u32,
  stride${a}: u32,
  before${a}: u32,
  inside${a}: u32,
  //#end
}
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  var rest = e;
  var at = 0u;
  var inside = true;
  // The last axis first. What is before the beginning is, as an unsigned number, beyond the end.
  //#unroll a RANK
  let index${a} = rest % p.size${a} - p.before${a};
  rest /= p.size${a};
  inside = inside && index${a} < p.inside${a};
  at += index${a} * p.stride${a};
  //#end
  //#if PAD
  if (!inside) {
    y[e] = Element(p.value);
    return;
  }
  //#end
  y[e] = x[at];
}
