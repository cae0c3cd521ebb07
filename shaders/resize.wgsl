// Trilinear resize of channels-first planes (P, d, h, w) → (P, D, H, W), align_corners = false as in PyTorch:
// source coordinate max((i + ½)·d/D − ½, 0), the far neighbour clamped to the edge.
//
// VEC4 writes four neighbours along w at once, where W is a multiple of 4 and at least 3·w: together they lie between three
// inputs, so that 12 loads serve four outputs instead of 32. The order of the sums is the same, so the result is too.
struct Params { count: u32, in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#if VEC4
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
//#else
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//#end

struct Place { low: u32, high: u32, t: f32 }

// Exact: the coordinate is a ratio of integers, (2i + 1)·n / (2m) − 1/2, split before anything is rounded.
fn place(i: u32, n: u32, m: u32) -> Place {
  let numerator = (2u * i + 1u) * n;
  if (numerator <= m) { return Place(0u, min(1u, n - 1u), 0.0); }
  let shifted = numerator - m;
  let low = min(shifted / (2u * m), n - 1u);
  return Place(low, min(low + 1u, n - 1u), f32(shifted % (2u * m)) / f32(2u * m));
}

//#if VEC4
// Four outputs' neighbours among three inputs: `far` tells which of them lie between the second and the third.
struct Four { at: vec3u, far: vec4<bool>, t: vec4f }

fn four_places(i: u32, n: u32, m: u32) -> Four {
  // As in place(), with one division: over four outputs the coordinate passes at most one input. Before the first input it
  // is negative; the weight then stays 0.
  let shifted = i32((2u * i + 1u) * n) - i32(m);
  let low = min(u32(max(shifted, 0)) / (2u * m), n - 1u);
  let rest = vec4i(shifted - i32(low * 2u * m)) + i32(2u * n) * vec4i(0, 1, 2, 3);
  let far = rest >= vec4i(i32(2u * m));
  let within = max(select(rest, rest - i32(2u * m), far), vec4i(0));
  return Four(min(vec3u(low, low + 1u, low + 2u), vec3u(n - 1u)), far, vec4f(within) / f32(2u * m));
}

fn along_w(row: u32, w: Four) -> vec4f {
  let v = vec3f(x[row + w.at.x], x[row + w.at.y], x[row + w.at.z]);
  return mix(select(vec4f(v.x), vec4f(v.y), w.far), select(vec4f(v.y), vec4f(v.z), w.far), w.t);
}
//#else
fn along_w(row: u32, w: Place) -> f32 { return mix(x[row + w.low], x[row + w.high], w.t); }
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  //#if VEC4
  let fours = p.out_w / 4u;
  let w = four_places(i % fours * 4u, p.in_w, p.out_w);
  let row = i / fours;
  //#else
  let w = place(i % p.out_w, p.in_w, p.out_w);
  let row = i / p.out_w;
  //#end
  let h = place(row % p.out_h, p.in_h, p.out_h);
  let d = place((row / p.out_h) % p.out_d, p.in_d, p.out_d);
  let plane = row / (p.out_h * p.out_d) * p.in_d;
  let d0 = (plane + d.low) * p.in_h;
  let d1 = (plane + d.high) * p.in_h;
  let near = mix(along_w((d0 + h.low) * p.in_w, w), along_w((d0 + h.high) * p.in_w, w), h.t);
  let far = mix(along_w((d1 + h.low) * p.in_w, w), along_w((d1 + h.high) * p.in_w, w), h.t);
  y[i] = mix(near, far, d.t);
}
