// Matmul, subgroup variant: one subgroup per workgroup, nothing shared between lanes but by broadcasts, no barriers. Lane l owns $COLS groups of 4 columns
// and all $TM rows; A is loaded one row per lane ($PER_LANE vec4 each) and broadcast. On CPU adapters a load costs many
// times a broadcast, so tiles are as large as the registers' spilling allows: see `subgroupTile` in matmul.ts.
//
// BROADCAST is subgroupBroadcast or subgroupShuffle, whichever the adapter is faster with.
//
// Transposed operands cost nothing: lanes load 4 rows of one k instead of one row of 4 k, or 4 k of one column, and which component
// is meant is a matter of names.
//
// Rounding grows with the length of a chain of sums, so after $CHUNK terms they are added to `partial` and begin anew. That
// is in workgroup memory, each lane's own: a second set of registers would spill the first.
enable subgroups;
//#include matmul_common.wgsl

var<workgroup> partial: array<vec4f, $PARTIAL>; // [row][group of columns][lane]

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  //#include matmul_sample.wgsl THREAD=lane
  let tile = tile_of(group, $TMu, $COLSu * $SGu * 4u);
  let row0 = tile.y * $TMu;
  let col = (tile.x * $COLSu * $SGu + lane) * 4u; // the first group; the others follow at a subgroup's width
  //#unroll j PER_LANE
  //#if A_TRANSPOSED
  let e_${j} = ${j}u * $SGu + lane; // of the tile's vec4 of 4 rows: [k][row / 4]
  let at_${j} = (e_${j} / $QUADSu * p.rows + min(row0 + e_${j} % $QUADSu * 4u, p.rows - 4u)) / 4u;
  //#else
  let row_${j} = first + min(row0 + ${j}u * $SGu + lane, p.rows - 1u);
  //#end
  //#end
  //#if B_TRANSPOSED
  //#unroll c COLS
  let column_${c} = p.b_first + min(col + ${c}u * $SGu * 4u, p.n - 4u) * p.b_column;
  //#end
  //#end
  //#if NORM
  //#unroll j PER_LANE
  let norm_${j} = row_norm(row_${j});
  //#end
  //#end
  //#unroll r TM
  //#unroll c COLS
  var sum_${r/4}_${r%4}_${c} = vec4f(0.0);
  //#end
  //#end
  //#if LONG
  for (var e = lane; e < $PARTIALu; e += $SGu) { partial[e] = vec4f(0.0); }
  var terms = 0u;
  //#end
  for (var tap = 0u; tap < p.taps; tap++) {
    //#if !A_TRANSPOSED
    //#unroll j PER_LANE
    let base_${j} = a_base(row_${j}, tap);
    //#end
    //#end
    for (var start = 0u; start < p.inner; start += $CHUNKu) {
      let stop = min(start + $CHUNKu, p.inner);
      //#if LONG
      terms += stop - start;
      if (terms > $CHUNKu) {
        terms = stop - start;
        //#unroll r TM
        //#unroll c COLS
        partial[(${r}u * $COLSu + ${c}u) * $SGu + lane] += sum_${r/4}_${r%4}_${c};
        sum_${r/4}_${r%4}_${c} = vec4f(0.0);
        //#end
        //#end
      }
      //#end
      for (var i = start; i < stop; i += 4u) {
        let k = tap * p.inner + i;
        //#unroll c COLS
        //#if B_TRANSPOSED
        //#unroll x 4
        let w${x}_${c} = b[(column_${c} + ${x}u * p.b_column + tap * p.b_tap + i) / 4u];
        //#end
        let b0_${c} = vec4f(w0_${c}.x, w1_${c}.x, w2_${c}.x, w3_${c}.x);
        let b1_${c} = vec4f(w0_${c}.y, w1_${c}.y, w2_${c}.y, w3_${c}.y);
        let b2_${c} = vec4f(w0_${c}.z, w1_${c}.z, w2_${c}.z, w3_${c}.z);
        let b3_${c} = vec4f(w0_${c}.w, w1_${c}.w, w2_${c}.w, w3_${c}.w);
        //#else
        //#unroll x 4
        let b${x}_${c} = b_load(k + ${x}u, i + ${x}u, col + ${c}u * $SGu * 4u);
        //#end
        //#end
        //#end
        //#if A_TRANSPOSED
        //#unroll j PER_LANE
        let a_${j} = a[at_${j} + i * (p.rows / 4u)];
        //#end
        //#unroll e TM
        {
          let v = $BROADCAST(a_${e/SG}, ${e%SG}u);
          //#unroll c COLS
          //#unroll x 4
          sum_${e%QUADS}_${x}_${c} = fma(vec4f(v[${x}]), b${e/QUADS}_${c}, sum_${e%QUADS}_${x}_${c});
          //#end
          //#end
        }
        //#end
        //#else
        //#unroll j PER_LANE
        //#if NORM
        let a_${j} = a_normed(base_${j}, i, norm_${j});
        //#else
        let a_${j} = a_load(base_${j}, i);
        //#end
        //#end
        //#unroll r TM
        {
          let v = $BROADCAST(a_${r/SG}, ${r%SG}u);
          //#unroll c COLS
          sum_${r/4}_${r%4}_${c} = fma(vec4f(v.w), b3_${c}, fma(vec4f(v.z), b2_${c}, fma(vec4f(v.y), b1_${c}, fma(vec4f(v.x), b0_${c}, sum_${r/4}_${r%4}_${c}))));
          //#end
        }
        //#end
        //#end
      }
    }
  }
  // The epilogue once, in a loop: unrolled over the tile it would be most of the code, and of the time that drivers take for it.
  //#unroll r TM
  //#unroll c COLS
  //#if LONG
  partial[(${r}u * $COLSu + ${c}u) * $SGu + lane] += sum_${r/4}_${r%4}_${c};
  //#else
  partial[(${r}u * $COLSu + ${c}u) * $SGu + lane] = sum_${r/4}_${r%4}_${c};
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
