// Gradient of the mask product for the hypernetworks: dhyper[b, i, c] = Σ_n dmasks[b, i, n] · voxels[b, n, c]. A
// workgroup takes one (b, i, c); its 256 invocations share the voxels, in a fixed order.
struct Params { masks: u32, voxels: u32, channels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dmasks: array<f32>;
@group(0) @binding(2) var<storage, read> voxels: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let c = group.x;
  let row = group.z * p.masks + group.y;
  var sum = 0.0;
  for (var n = t; n < p.voxels; n += 256u) {
    sum += dmasks[row * p.voxels + n] * voxels[(group.z * p.voxels + n) * p.channels + c];
  }
  parts[t] = sum;
  workgroupBarrier();
  for (var step = 128u; step > 0u; step /= 2u) {
    if (t < step) { parts[t] += parts[t + step]; }
    workgroupBarrier();
  }
  if (t == 0u) { y[row * p.channels + c] = parts[0]; }
}
