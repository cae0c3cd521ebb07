// Matmul, tiled variant, for GPUs: a workgroup of 16 × 8 invocations computes 64 × 64 of C. Slices of 16 along K
// go through shared memory; each invocation owns 8 rows × 4 columns.
//#include matmul_common.wgsl

var<workgroup> tile_a: array<f32, 1024>; // [k 0…15][row]: scalars, since two invocations may not write one vec4
var<workgroup> tile_b: array<vec4f, 256>; // [k 0…15][col / 4]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  //#if REGION
  if (!region_is_open(group.z)) { return; }
  region_count(index, p.counter);
  let first = region_sample(group.z) * p.rows;
  //#else
  let first = 0u;
  //#end
  let tx = index % 16u;
  let ty = index / 16u;
  let tile = tile_of(group, 64u, 64u);
  let row0 = tile.y * 64u;
  let col0 = tile.x * 64u;
  //#unroll r 8
  var acc_${r} = vec4f(0.0);
  //#end
  // Loading: invocation → row index / 2 of the tile and 8 of its 16 k's; B: k index / 8 and 2 vec4.
  let load_row = first + min(row0 + index / 2u, p.rows - 1u);
  let load_k = (index % 2u) * 8u;
  let b_k = index / 8u;
  let b_col = (index % 8u) * 2u;
  for (var tap = 0u; tap < p.taps; tap++) {
    let base = a_base(load_row, tap);
    for (var start = 0u; start < p.inner; start += 16u) {
      //#unroll q 2
      {
        let i = start + load_k + ${q}u * 4u;
        var v = vec4f(0.0);
        if (i < p.inner) { v = a_load(base, i); }
        tile_a[(load_k + ${q}u * 4u) * 64u + index / 2u] = v.x;
        tile_a[(load_k + ${q}u * 4u + 1u) * 64u + index / 2u] = v.y;
        tile_a[(load_k + ${q}u * 4u + 2u) * 64u + index / 2u] = v.z;
        tile_a[(load_k + ${q}u * 4u + 3u) * 64u + index / 2u] = v.w;
      }
      {
        let i = start + b_k;
        var v = vec4f(0.0);
        if (i < p.inner) { v = b_load(tap * p.inner + i, i, col0 + (b_col + ${q}u) * 4u); }
        tile_b[b_k * 16u + b_col + ${q}u] = v;
      }
      //#end
      workgroupBarrier();
      // Sums are kept short (16 terms) and then added up: rounding grows with the length of a chain.
      //#unroll r 8
      var sum_${r} = vec4f(0.0);
      //#end
      for (var k = 0u; k < 16u; k++) {
        let v = tile_b[k * 16u + tx];
        //#unroll r 8
        sum_${r} = fma(vec4f(tile_a[k * 64u + ty * 8u + ${r}u]), v, sum_${r});
        //#end
      }
      //#unroll r 8
      acc_${r} += sum_${r};
      //#end
      workgroupBarrier();
    }
  }
  //#unroll r 8
  {
    let row = row0 + ty * 8u + ${r}u;
    if (row < p.rows) { finish(first + row, col0 + tx * 4u, acc_${r}); }
  }
  //#end
}
