// out[i, j, k] = trilinear sample of x (d, h, w) at M · (i, j, k, 1) (SPEC A0, there and back). Up to half a
// voxel outside, inclusive, the edge value; beyond, `outside`.
struct Params {
  count: u32, in_d: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32, grid_x: u32, outside: f32,
  m00: f32, m01: f32, m02: f32, m03: f32,
  m10: f32, m11: f32, m12: f32, m13: f32,
  m20: f32, m21: f32, m22: f32, m23: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let index = (group.x + group.y * p.grid_x) * 64u + t;
  if (index >= p.count) { return; }
  let v = vec3f(f32(index / (p.out_h * p.out_w)), f32((index / p.out_w) % p.out_h), f32(index % p.out_w));
  let at = vec3f(
    dot(vec3f(p.m00, p.m01, p.m02), v) + p.m03,
    dot(vec3f(p.m10, p.m11, p.m12), v) + p.m13,
    dot(vec3f(p.m20, p.m21, p.m22), v) + p.m23,
  );
  let size = vec3f(f32(p.in_d), f32(p.in_h), f32(p.in_w));
  if (any(at < vec3f(-0.5)) || any(at > size - 0.5)) {
    y[index] = p.outside;
    return;
  }
  let inside = clamp(at, vec3f(0.0), size - 1.0);
  let low = vec3u(inside);
  let high = min(low + 1u, vec3u(p.in_d, p.in_h, p.in_w) - 1u);
  let f = inside - vec3f(low);
  let d0h0 = (low.x * p.in_h + low.y) * p.in_w;
  let d0h1 = (low.x * p.in_h + high.y) * p.in_w;
  let d1h0 = (high.x * p.in_h + low.y) * p.in_w;
  let d1h1 = (high.x * p.in_h + high.y) * p.in_w;
  let near = mix(mix(x[d0h0 + low.z], x[d0h0 + high.z], f.z), mix(x[d0h1 + low.z], x[d0h1 + high.z], f.z), f.y);
  let far = mix(mix(x[d1h0 + low.z], x[d1h0 + high.z], f.z), mix(x[d1h1 + low.z], x[d1h1 + high.z], f.z), f.y);
  y[index] = mix(near, far, f.x);
}
