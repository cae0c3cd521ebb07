// C = epilogue(A · B), the plainest kernel that serves the whole family: an invocation makes one row × four columns.
//   sgp-sam kernel examples/matmul.wgsl --like matmul:512x768x3072 --tile 8x32
//#include matmul_common.wgsl

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let row = group.y * 8u + local.y;
  let col = (group.x * 8u + local.x) * 4u;
  if (row >= p.rows || col >= p.n) { return; }
  var total = vec4f(0.0);
  for (var tap = 0u; tap < p.taps; tap++) {
    let base = a_base(row, tap);
    for (var i = 0u; i < p.inner; i += 4u) {
      let k = tap * p.inner + i;
      let v = a_load(base, i);
      total += v.x * b_load(k, i, col) + v.y * b_load(k + 1u, i + 1u, col) + v.z * b_load(k + 2u, i + 2u, col) +
        v.w * b_load(k + 3u, i + 3u, col);
    }
  }
  finish(row, col, total);
}
