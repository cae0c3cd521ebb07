// Matmul, register variant: no subgroups, no shared memory, no barriers; needs nothing but WebGPU's defaults.
// Each invocation owns $TM rows × 4 columns; neighbours in x own neighbouring columns of the same rows, so
// loads of A are uniform across them and loads of B contiguous.
//#include matmul_common.wgsl

@compute @workgroup_size($WGX, $WGY)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  //#include matmul_sample.wgsl THREAD=local.x+local.y
  let tile = tile_of(group, $WGYu * $TMu, $WGXu * 4u);
  let row0 = (tile.y * $WGYu + local.y) * $TMu;
  let col = (tile.x * $WGXu + local.x) * 4u;
  if (row0 >= p.rows || col >= p.n) { return; }
  //#unroll r TM
  let row_${r} = first + min(row0 + ${r}u, p.rows - 1u);
  var acc_${r} = vec4f(0.0);
  //#if NORM
  let norm_${r} = row_norm(row_${r});
  //#end
  //#end
  for (var tap = 0u; tap < p.taps; tap++) {
    //#unroll r TM
    let base_${r} = a_base(row_${r}, tap);
    //#end
    // Sums are kept short (at most CHUNK terms) and then added up: rounding grows with the length of a chain.
    for (var start = 0u; start < p.inner; start += $CHUNKu) {
      //#unroll r TM
      var sum_${r} = vec4f(0.0);
      //#end
      let stop = min(start + $CHUNKu, p.inner);
      for (var i = start; i < stop; i += 4u) {
        let k = tap * p.inner + i;
        let b0 = b_load(k, i, col);
        let b1 = b_load(k + 1u, i + 1u, col);
        let b2 = b_load(k + 2u, i + 2u, col);
        let b3 = b_load(k + 3u, i + 3u, col);
        //#unroll r TM
        {
          //#if NORM
          let v = a_normed(base_${r}, i, norm_${r});
          //#else
          let v = a_load(base_${r}, i);
          //#end
          sum_${r} = fma(vec4f(v.w), b3, fma(vec4f(v.z), b2, fma(vec4f(v.y), b1, fma(vec4f(v.x), b0, sum_${r}))));
        }
        //#end
      }
      //#unroll r TM
      acc_${r} += sum_${r};
      //#end
    }
  }
  //#unroll r TM
  if (row0 + ${r}u < p.rows) { finish(first + row0 + ${r}u, col, acc_${r}); }
  //#end
}
