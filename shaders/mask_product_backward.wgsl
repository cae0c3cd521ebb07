// Gradient of the mask product for the voxels: dvoxels[b, n, c] = Σ_i dmasks[b, i, n] · hyper[b, i, c].
struct Params { count: u32, masks: u32, voxels: u32, channels: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dmasks: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let c = e % p.channels;
  let n = (e / p.channels) % p.voxels;
  let batch = e / (p.channels * p.voxels);
  var sum = 0.0;
  for (var i = 0u; i < p.masks; i++) {
    sum += dmasks[(batch * p.masks + i) * p.voxels + n] * hyper[(batch * p.masks + i) * p.channels + c];
  }
  y[e] = sum;
}
