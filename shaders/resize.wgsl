// Trilinear resize of channels-first planes (P, d, h, w) → (P, D, H, W), align_corners = false as in PyTorch:
// source coordinate max((i + ½)·d/D − ½, 0), the far neighbour clamped to the edge.
struct Params { count: u32, in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

struct Place { low: u32, high: u32, t: f32 }

// Exact: the coordinate is a ratio of integers, (2i + 1)·n / (2m) − 1/2, split before anything is rounded.
fn place(i: u32, n: u32, m: u32) -> Place {
  let numerator = (2u * i + 1u) * n;
  if (numerator <= m) { return Place(0u, min(1u, n - 1u), 0.0); }
  let shifted = numerator - m;
  let low = min(shifted / (2u * m), n - 1u);
  return Place(low, min(low + 1u, n - 1u), f32(shifted % (2u * m)) / f32(2u * m));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.x + group.y * p.grid_x) * 64u + t;
  if (i >= p.count) { return; }
  let w = place(i % p.out_w, p.in_w, p.out_w);
  let h = place((i / p.out_w) % p.out_h, p.in_h, p.out_h);
  let d = place((i / (p.out_w * p.out_h)) % p.out_d, p.in_d, p.out_d);
  let plane = i / (p.out_w * p.out_h * p.out_d) * p.in_d;
  let d0h0 = ((plane + d.low) * p.in_h + h.low) * p.in_w;
  let d0h1 = ((plane + d.low) * p.in_h + h.high) * p.in_w;
  let d1h0 = ((plane + d.high) * p.in_h + h.low) * p.in_w;
  let d1h1 = ((plane + d.high) * p.in_h + h.high) * p.in_w;
  let near = mix(mix(x[d0h0 + w.low], x[d0h0 + w.high], w.t), mix(x[d0h1 + w.low], x[d0h1 + w.high], w.t), h.t);
  let far = mix(mix(x[d1h0 + w.low], x[d1h0 + w.high], w.t), mix(x[d1h1 + w.low], x[d1h1 + w.high], w.t), h.t);
  y[i] = mix(near, far, d.t);
}
