// Matmul, matrix variant, for GPUs with subgroup matrices (tensor cores) that multiply f16 and add up in f32: a workgroup computes
// $TM × $TN of C, each of its subgroups $ROWS × $COLS result matrices. Slices of $TK along K go through workgroup memory; the loads of
// the next are on their way while one is multiplied.
//
// f16 keeps 11 bits of an f32's 24. So every operand x is split in two, hi = f16(x) and lo = f16(2048 · (x − hi)), which keep 22, and
//   a · b = hi(a) hi(b) + (hi(a) lo(b) + lo(a) hi(b)) / 2048, to about 2⁻²¹ of the product.
// Weights held as f16 have no lo, which saves one of the three products. What is beyond f16's range (65504) gives NaN. Below 1e-4 hi has
// fewer bits (values of 1e-5 are off by 1.5e-6, of 1e-6 by 1.5e-5), so gradients are not for this variant: `gradients` in matmul.ts.
// How long sums are rounded is the device's business: they stay in its accumulators over all of K.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
//#include matmul_common.wgsl
//#include split.wgsl

var<workgroup> a_hi: array<f16, $TILE_A>; // [row][k], rows $STRIDE_A apart
var<workgroup> a_lo: array<f16, $TILE_A>;
var<workgroup> b_hi: array<f16, $TILE_B>; // [k][col], rows $STRIDE_B apart
//#if !B_HALF
var<workgroup> b_lo: array<f16, $TILE_B>;
//#end
var<workgroup> results: array<f32, $RESULTS>; // a result matrix of each subgroup, on its way out
const RESULT = $MMu * $MNu;

//#include split_store.wgsl NAME=a
//#if B_HALF
fn store_b(to: u32, v: vec4f) {
  let all = vec4h(v);
  for (var j = 0u; j < 4u; j++) { b_hi[to + j] = all[j]; }
}
//#else
//#include split_store.wgsl NAME=b
//#end

@compute @workgroup_size($THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  //#include matmul_sample.wgsl THREAD=index
  let tile = tile_of(group, $TMu, $TNu);
  let row0 = tile.y * $TMu;
  let col0 = tile.x * $TNu;
  // This subgroup's part of the tile.
  let part_row = (subgroup / $ACROSSu) * $ROWSu * $MMu;
  let part_col = (subgroup % $ACROSSu) * $COLSu * $MNu;
  //#unroll r ROWS
  //#unroll c COLS
  var acc_${r}_${c}: subgroup_matrix_result<f32, $MN, $MM>;
  var fine_${r}_${c}: subgroup_matrix_result<f32, $MN, $MM>; // 2048 times what the lows add
  //#end
  //#end
  // What this invocation loads: vec4s, those of A along K, $THREADS apart.
  let a_k = (index % ($TKu / 4u)) * 4u;
  let a_row = index / ($TKu / 4u);
  //#unroll q LOADS_A
  let row_${q} = first + min(row0 + a_row + ${q}u * ($THREADSu * 4u / $TKu), p.rows - 1u);
  var base_${q} = a_base(row_${q}, 0u);
  //#end
  var tap = 0u;
  var start = 0u;
  let slices = p.taps * ((p.inner + $TKu - 1u) / $TKu);
  // Turn s loads slice s and multiplies slice s − 1.
  for (var slice = 0u; slice <= slices; slice++) {
    //#unroll q LOADS_A
    var va_${q} = vec4f(0.0);
    //#end
    //#unroll q LOADS_B
    var vb_${q} = vec4f(0.0);
    //#end
    if (slice < slices) {
      if (start + a_k < p.inner) {
        //#unroll q LOADS_A
        va_${q} = a_load(base_${q}, start + a_k);
        //#end
      }
      //#unroll q LOADS_B
      {
        let at = index + ${q}u * $THREADSu;
        let i = start + at / ($TNu / 4u);
        if (i < p.inner) { vb_${q} = b_load(tap * p.inner + i, i, col0 + (at % ($TNu / 4u)) * 4u); }
      }
      //#end
      start += $TKu;
      if (start >= p.inner && tap + 1u < p.taps) {
        start = 0u;
        tap++;
        //#unroll q LOADS_A
        base_${q} = a_base(row_${q}, tap);
        //#end
      }
    }
    if (slice > 0u) {
      for (var k = 0u; k < $TKu; k += $MKu) {
        //#unroll c COLS
        let from_${c} = k * $STRIDE_Bu + part_col + ${c}u * $MNu;
        let b_hi_${c} = subgroupMatrixLoad<subgroup_matrix_right<f16, $MN, $MK>, row_major>(&b_hi, from_${c}, $STRIDE_Bu);
        //#if !B_HALF
        let b_lo_${c} = subgroupMatrixLoad<subgroup_matrix_right<f16, $MN, $MK>, row_major>(&b_lo, from_${c}, $STRIDE_Bu);
        //#end
        //#end
        //#unroll r ROWS
        {
          let from_a = (part_row + ${r}u * $MMu) * $STRIDE_Au + k;
          let a_high = subgroupMatrixLoad<subgroup_matrix_left<f16, $MK, $MM>, row_major>(&a_hi, from_a, $STRIDE_Au);
          let a_low = subgroupMatrixLoad<subgroup_matrix_left<f16, $MK, $MM>, row_major>(&a_lo, from_a, $STRIDE_Au);
          //#unroll c COLS
          acc_${r}_${c} = subgroupMatrixMultiplyAccumulate(a_high, b_hi_${c}, acc_${r}_${c});
          fine_${r}_${c} = subgroupMatrixMultiplyAccumulate(a_low, b_hi_${c}, fine_${r}_${c});
          //#if !B_HALF
          fine_${r}_${c} = subgroupMatrixMultiplyAccumulate(a_high, b_lo_${c}, fine_${r}_${c});
          //#end
          //#end
        }
        //#end
      }
    }
    workgroupBarrier();
    //#unroll q LOADS_A
    store_a((a_row + ${q}u * ($THREADSu * 4u / $TKu)) * $STRIDE_Au + a_k, va_${q});
    //#end
    //#unroll q LOADS_B
    {
      let at = index + ${q}u * $THREADSu;
      store_b((at / ($TNu / 4u)) * $STRIDE_Bu + (at % ($TNu / 4u)) * 4u, vb_${q});
    }
    //#end
    workgroupBarrier();
  }
  // Out through workgroup memory: only there a matrix has elements, which the epilogue wants.
  //#unroll r ROWS
  //#unroll c COLS
  {
    subgroupMatrixStore<row_major>(&results, subgroup * RESULT, acc_${r}_${c}, $MNu);
    workgroupBarrier();
    //#unroll g QUADS
    let sum_${g} = result_of(subgroup * RESULT + (${g}u * $SGu + lane) * 4u);
    //#end
    workgroupBarrier();
    subgroupMatrixStore<row_major>(&results, subgroup * RESULT, fine_${r}_${c}, $MNu);
    workgroupBarrier();
    //#unroll g QUADS
    {
      let at = (${g}u * $SGu + lane) * 4u;
      let row = row0 + part_row + ${r}u * $MMu + at / $MNu;
      if (at < RESULT && row < p.rows) {
        finish(first + row, col0 + part_col + ${c}u * $MNu + at % $MNu, sum_${g} + result_of(subgroup * RESULT + at) / SPLIT);
      }
    }
    //#end
    workgroupBarrier();
  }
  //#end
  //#end
}

fn result_of(at: u32) -> vec4f {
  return vec4f(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
}
