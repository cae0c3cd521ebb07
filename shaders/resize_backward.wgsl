// The adjoint of resize.wgsl, gathered: every input voxel sums the output voxels it contributed to, in a fixed
// order. Along an axis, output i reads input x if x is its low or high neighbour.
struct Params { count: u32, in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

// Weight of input x (of n) in output i (of m), in whole parts of 2m: 1 less the distance from i's coordinate, kept within the input.
fn weight(i: u32, x: u32, n: u32, m: u32) -> f32 {
  let coordinate = clamp(i32((2u * i + 1u) * n) - i32(m), 0, i32(2u * m * (n - 1u)));
  return f32(max(i32(2u * m) - abs(coordinate - i32(2u * m * x)), 0));
}
// Outputs whose coordinate (i + ½)·n/m − ½ lies within one voxel of x, and those beyond the edges.
fn first(x: u32, n: u32, m: u32) -> u32 {
  if (x == 0u || (2u * x - 1u) * m <= n) { return 0u; }
  return ((2u * x - 1u) * m - n) / (2u * n);
}
fn last(x: u32, n: u32, m: u32) -> u32 { return min(((2u * x + 3u) * m) / (2u * n) + 1u, m - 1u); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let xw = e % p.in_w;
  let xh = (e / p.in_w) % p.in_h;
  let xd = (e / (p.in_w * p.in_h)) % p.in_d;
  let plane = e / (p.in_w * p.in_h * p.in_d) * p.out_d;
  // Before the loops: drivers divide anew at every turn.
  let begin = vec3u(first(xd, p.in_d, p.out_d), first(xh, p.in_h, p.out_h), first(xw, p.in_w, p.out_w));
  let end = vec3u(last(xd, p.in_d, p.out_d), last(xh, p.in_h, p.out_h), last(xw, p.in_w, p.out_w));
  var sum = 0.0;
  for (var d = begin.x; d <= end.x; d++) {
    let wd = weight(d, xd, p.in_d, p.out_d);
    if (wd == 0.0) { continue; }
    for (var h = begin.y; h <= end.y; h++) {
      let wh = wd * weight(h, xh, p.in_h, p.out_h);
      if (wh == 0.0) { continue; }
      for (var w = begin.z; w <= end.z; w++) {
        let ww = weight(w, xw, p.in_w, p.out_w);
        sum += wh * ww * dy[((plane + d) * p.out_h + h) * p.out_w + w];
      }
    }
  }
  dx[e] = sum / (8.0 * f32(p.out_d) * f32(p.out_h) * f32(p.out_w));
}
