// SAM-Med3D's random-Fourier position encoding (SPEC A2): pe(c) = [sin t, cos t, sin t], t = 2π·((2c − 1) @ G),
// G the (3, F) Gaussian matrix, 3·F output channels. One invocation a (row, f).
//   POINTS      row = a point; + point_embeddings.1 / .0 for label 1 / 0; not_a_point_embed alone for label −1
//   otherwise   row = a cell (i, j, k) of a cube of edge `edge`, at ((j+½), (i+½), (k+½))/edge: the first two
//               axes swapped, as upstream has it
struct Params { rows: u32, features: u32, edge: u32, volume: f32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gaussian: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//#if POINTS
@group(0) @binding(3) var<storage, read> points: array<f32>; // (rows, 4): coordinates in voxels, label
@group(0) @binding(4) var<storage, read> embed_0: array<f32>;
@group(0) @binding(5) var<storage, read> embed_1: array<f32>;
@group(0) @binding(6) var<storage, read> not_a_point: array<f32>;
//#end
//#include finite.wgsl

// sin(2π·r) for |r| ≤ 1/4 by its Taylor series: error below 1e-7. WGSL's own sin promises only 2^-11.
fn sin_quarter(r: f32) -> f32 {
  let x = 6.283185307179586 * r;
  let s = x * x;
  return x * (1.0 + s * (-1.6666667e-1 + s * (8.3333333e-3 + s * (-1.9841270e-4 + s * (2.7557319e-6 + s * -2.5052108e-8)))));
}
// sin(2π·turns): the whole turns drop out exactly, before anything is multiplied by π.
fn sin_turns(turns: f32) -> f32 {
  let r = turns - round(turns);
  let folded = select(select(r, 0.5 - r, r > 0.25), -0.5 - r, r < -0.25);
  return sin_quarter(folded);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.rows * p.features) { return; }
  let row = e / p.features;
  let f = e % p.features;
  let at = row * 3u * p.features + f;
  //#if POINTS
  let point = vec4f(points[4u * row], points[4u * row + 1u], points[4u * row + 2u], points[4u * row + 3u]);
  if (point.w < 0.0) {
    for (var part = 0u; part < 3u; part++) {
      y[at + part * p.features] = not_a_point[f + part * p.features];
    }
    return;
  }
  let c = (point.xyz + 0.5) / p.volume;
  //#else
  let i = row / (p.edge * p.edge);
  let j = (row / p.edge) % p.edge;
  let c = (vec3f(f32(j), f32(i), f32(row % p.edge)) + 0.5) / f32(p.edge);
  //#end
  let u = 2.0 * c - 1.0;
  let turns = u.x * gaussian[f] + u.y * gaussian[p.features + f] + u.z * gaussian[2u * p.features + f];
  // A float of 2²³ and more has no fraction left that an angle could be.
  let r = poisoned(turns - round(turns), turns, 8388608.0);
  let values = vec3f(sin_turns(r), sin_turns(r + 0.25), sin_turns(r));
  for (var part = 0u; part < 3u; part++) {
    //#if POINTS
    let embed = select(embed_0[f + part * p.features], embed_1[f + part * p.features], point.w > 0.0);
    y[at + part * p.features] = values[part] + embed;
    //#else
    y[at + part * p.features] = values[part];
    //#end
  }
}
