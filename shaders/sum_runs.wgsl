// y[i] = Σ x over run i of so many: a channel gradient's share of each gate.
struct Params { count: u32, run: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = group.x * 64u + t;
  if (i >= p.count) { return; }
  var sum = 0.0;
  for (var j = i * p.run; j < (i + 1u) * p.run; j++) { sum += x[j]; }
  y[i] = sum;
}
