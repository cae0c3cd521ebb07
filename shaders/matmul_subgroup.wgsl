// Matmul, subgroup variant: one subgroup per workgroup, nothing shared between lanes but by broadcasts, no barriers. Lane l owns $COLS groups of 4 columns
// and all $TM rows; A is loaded one row per lane ($PER_LANE vec4 each) and broadcast. On CPU adapters a load costs many
// times a broadcast, so tiles are as large as the registers' spilling allows: see `subgroupTile` in matmul.ts.
//
// BROADCAST is subgroupBroadcast or subgroupShuffle, whichever the adapter is faster with.
//
// Rounding grows with the length of a chain of sums, so after $CHUNK terms they are added to `partial` and begin anew. That
// is in workgroup memory, each lane's own: a second set of registers would spill the first.
enable subgroups;
//#include matmul_common.wgsl

var<workgroup> partial: array<vec4f, $PARTIAL>; // [row][group of columns][lane]

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  //#if REGION
  if (!region_is_open(group.z)) { return; }
  region_count(lane, p.counter);
  let first = region_sample(group.z) * p.rows;
  //#else
  let first = 0u;
  //#end
  let tile = tile_of(group, $TMu, $COLSu * $SGu * 4u);
  let row0 = tile.y * $TMu;
  let col = (tile.x * $COLSu * $SGu + lane) * 4u; // the first group; the others follow at a subgroup's width
  //#unroll j PER_LANE
  let row_${j} = first + min(row0 + ${j}u * $SGu + lane, p.rows - 1u);
  //#unroll l SG
  //#unroll c COLS
  var sum_${j}_${l}_${c} = vec4f(0.0);
  //#end
  //#end
  //#end
  //#if LONG
  for (var e = lane; e < $PARTIALu; e += $SGu) { partial[e] = vec4f(0.0); }
  var terms = 0u;
  //#end
  for (var tap = 0u; tap < p.taps; tap++) {
    //#unroll j PER_LANE
    let base_${j} = a_base(row_${j}, tap);
    //#end
    for (var start = 0u; start < p.inner; start += $CHUNKu) {
      let stop = min(start + $CHUNKu, p.inner);
      //#if LONG
      terms += stop - start;
      if (terms > $CHUNKu) {
        terms = stop - start;
        //#unroll j PER_LANE
        //#unroll l SG
        //#unroll c COLS
        partial[((${j}u * $SGu + ${l}u) * $COLSu + ${c}u) * $SGu + lane] += sum_${j}_${l}_${c};
        sum_${j}_${l}_${c} = vec4f(0.0);
        //#end
        //#end
        //#end
      }
      //#end
      for (var i = start; i < stop; i += 4u) {
        let k = tap * p.inner + i;
        //#unroll c COLS
        let b0_${c} = b_load(k, i, col + ${c}u * $SGu * 4u);
        let b1_${c} = b_load(k + 1u, i + 1u, col + ${c}u * $SGu * 4u);
        let b2_${c} = b_load(k + 2u, i + 2u, col + ${c}u * $SGu * 4u);
        let b3_${c} = b_load(k + 3u, i + 3u, col + ${c}u * $SGu * 4u);
        //#end
        //#unroll j PER_LANE
        let a_${j} = a_load(base_${j}, i);
        //#unroll l SG
        {
          let v = $BROADCAST(a_${j}, ${l}u);
          //#unroll c COLS
          sum_${j}_${l}_${c} = fma(vec4f(v.w), b3_${c}, fma(vec4f(v.z), b2_${c}, fma(vec4f(v.y), b1_${c}, fma(vec4f(v.x), b0_${c}, sum_${j}_${l}_${c}))));
          //#end
        }
        //#end
        //#end
      }
    }
  }
  // The epilogue once, in a loop: unrolled over the tile it would be most of the code, and of the time that drivers take for it.
  //#unroll j PER_LANE
  //#unroll l SG
  //#unroll c COLS
  //#if LONG
  partial[((${j}u * $SGu + ${l}u) * $COLSu + ${c}u) * $SGu + lane] += sum_${j}_${l}_${c};
  //#else
  partial[((${j}u * $SGu + ${l}u) * $COLSu + ${c}u) * $SGu + lane] = sum_${j}_${l}_${c};
  //#end
  //#end
  //#end
  //#end
  let rows = min($TMu, p.rows - row0);
  for (var r = 0u; r < rows; r++) {
    for (var c = 0u; c < $COLSu; c++) {
      finish(first + row0 + r, col + c * $SGu * 4u, partial[(r * $COLSu + c) * $SGu + lane]);
    }
  }
}
