// masks[b, i, n] = Σ_c hyper[b, i, c] · voxels[b, n, c]  (SPEC A3): (B, M, C) × (B, N, C) → (B, M, N).
// One invocation a voxel, all $M masks: the voxel's channels are read once.
struct Params { voxels: u32, channels: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read> voxels: array<f32>;
@group(0) @binding(3) var<storage, read_write> masks: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let n = (group.x + group.y * p.grid_x) * 64u + t;
  if (n >= p.voxels) { return; }
  let base = (group.z * p.voxels + n) * p.channels;
  let row = group.z * $Mu * p.channels;
  //#unroll i M
  var acc_${i} = 0.0;
  //#end
  for (var c = 0u; c < p.channels; c++) {
    let v = voxels[base + c];
    //#unroll i M
    acc_${i} = fma(hyper[row + ${i}u * p.channels + c], v, acc_${i});
    //#end
  }
  //#unroll i M
  masks[(group.z * $Mu + ${i}u) * p.voxels + n] = acc_${i};
  //#end
}
