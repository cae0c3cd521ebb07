// dx = dy · f'(x) for GELU (erf) or ReLU. VEC4 takes four elements at a time; counts are then in vec4.
struct Params { count: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
//#if VEC4
alias Element = vec4f;
//#else
alias Element = f32;
//#end
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> dx: array<Element>;
//#include math.wgsl

fn derivative(v: vec4f) -> vec4f {
  //#if GELU
  // Φ(x) + x·φ(x)
  let tail = 0.5 * erfc_positive(abs(v) * 0.7071067811865476);
  let cdf = select(1.0 - tail, tail, v < vec4f(0.0));
  return cdf + v * 0.3989422804014327 * exp(-0.5 * v * v);
  //#else
  return select(vec4f(0.0), vec4f(1.0), v > vec4f(0.0));
  //#end
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if VEC4
  dx[i] = dy[i] * derivative(x[i]);
  //#else
  dx[i] = dy[i] * derivative(vec4f(x[i])).x;
  //#end
}
