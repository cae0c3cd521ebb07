// Matmul, subgroup variant: one subgroup per workgroup, no shared memory, no barriers. Lane l owns 4 columns
// and all $TM rows; A is loaded one row per lane ($PER_LANE vec4 each) and broadcast. On CPU adapters a load
// costs 10 times a broadcast, so this is the fast one there.
enable subgroups;
//#include matmul_common.wgsl

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  //#if REGION
  if (!region_is_open(group.z)) { return; }
  region_count(lane, p.counter);
  let first = region_sample(group.z) * p.rows;
  //#else
  let first = 0u;
  //#end
  let row0 = group.y * $TMu;
  let col = (group.x * $SGu + lane) * 4u;
  //#unroll j PER_LANE
  let row_${j} = first + min(row0 + ${j}u * $SGu + lane, p.rows - 1u);
  //#unroll l SG
  var acc_${j}_${l} = vec4f(0.0);
  //#end
  //#end
  for (var tap = 0u; tap < p.taps; tap++) {
    //#unroll j PER_LANE
    let base_${j} = a_base(row_${j}, tap);
    //#end
    // Sums are kept short (at most CHUNK terms) and then added up: rounding grows with the length of a chain.
    for (var start = 0u; start < p.inner; start += $CHUNKu) {
      //#unroll j PER_LANE
      //#unroll l SG
      var sum_${j}_${l} = vec4f(0.0);
      //#end
      //#end
      let stop = min(start + $CHUNKu, p.inner);
      for (var i = start; i < stop; i += 4u) {
        let k = tap * p.inner + i;
        let b0 = b_load(k, i, col);
        let b1 = b_load(k + 1u, i + 1u, col);
        let b2 = b_load(k + 2u, i + 2u, col);
        let b3 = b_load(k + 3u, i + 3u, col);
        //#unroll j PER_LANE
        let a_${j} = a_load(base_${j}, i);
        //#unroll l SG
        {
          let v = subgroupBroadcast(a_${j}, ${l}u);
          sum_${j}_${l} = fma(vec4f(v.w), b3, fma(vec4f(v.z), b2, fma(vec4f(v.y), b1, fma(vec4f(v.x), b0, sum_${j}_${l}))));
        }
        //#end
        //#end
      }
      //#unroll j PER_LANE
      //#unroll l SG
      acc_${j}_${l} += sum_${j}_${l};
      //#end
      //#end
    }
  }
  //#unroll j PER_LANE
  //#unroll l SG
  if (row0 + ${j}u * $SGu + ${l}u < p.rows) { finish(first + row0 + ${j}u * $SGu + ${l}u, col, acc_${j}_${l}); }
  //#end
  //#end
}
