// Multi-head attention of an encoder block, matrix variant, for GPUs with subgroup matrices (tensor cores) that multiply f16 and add up in
// f32: attention_tiled.wgsl's tiles and softmax, whose two products, q · kᵀ and weights · v, are of matrices. Every operand is two f16,
// as in matmul_matrix.wgsl (there is what that keeps, and what it does not). A head is a multiple of a tile's others and of a matrix's sides.
//
// A matrix has no elements but in memory. So a tile's products go through workgroup memory, where the softmax reads scores and where what
// every query has summed so far, kept by the invocations, takes what the tile adds: for each element two stores and two loads, and 3 · $KT
// multiply-adds of the sums, 3 · $HD of the scores.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
//#include attention_tile_forward.wgsl
//#include split.wgsl

const MATRIX_ROWS = $MMu;
const MATRIX_COLUMNS = $MNu;
const RESULT = MATRIX_ROWS * MATRIX_COLUMNS;
const HEAD_STRIDE = $HEAD_STRIDEu;     // between tokens
const WEIGHT_STRIDE = $WEIGHT_STRIDEu; // between own slots
const SUBGROUPS = $SUBGROUPSu;
const FINE_AT = $FINE_ATu;
var<workgroup> q_hi: array<f16, $TILE_Q>; // [own slot][x]
var<workgroup> q_lo: array<f16, $TILE_Q>;
var<workgroup> other_hi: array<f16, $TILE_OTHER>; // [other][x]: keys, and then values
var<workgroup> other_lo: array<f16, $TILE_OTHER>;
var<workgroup> weight_hi: array<f16, $TILE_WEIGHT>; // [own slot][other]
var<workgroup> weight_lo: array<f16, $TILE_WEIGHT>;
var<workgroup> results: array<f32, $RESULTS>; // a product's matrices one after the other, then what lows add to each, times SPLIT

//#include split_store.wgsl NAME=q
//#include split_store.wgsl NAME=other

// Where element (row, column) of a product lies that is `across` matrices wide.
fn place_in_results(row: u32, column: u32, across: u32) -> u32 {
  let matrix = row / MATRIX_ROWS * across + column / MATRIX_COLUMNS;
  return matrix * RESULT + row % MATRIX_ROWS * MATRIX_COLUMNS + column % MATRIX_COLUMNS;
}

fn result_at(at: u32) -> f32 { return results[at] + results[FINE_AT + at] / SPLIT; }

// The highest of the values that a quad's lanes have: by halves within a subgroup, and where lanes are of several, by way of `stage`.
fn most_over_lanes(value: vec4f, quad: u32, t: u32) -> vec4f {
  var most = value;
  for (var mask = 1u; mask < $SHUFFLEDu; mask *= 2u) { most = max(most, subgroupShuffleXor(most, mask)); }
  //#if STAGED
  stage[LANES_AT + t] = most;
  workgroupBarrier();
  for (var l = 0u; l < LANES; l += $SHUFFLEDu) { most = max(most, stage[LANES_AT + quad * LANES + l]); }
  //#end
  return most;
}

@compute @workgroup_size($T)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let t = subgroup * $SGu + invocation; // lanes of a quad are neighbours in a subgroup: no other numbering promises that
  //#include attention_tile_begin.wgsl
  // Of the sums an invocation has vec4 t, t + $T, … by own slots. They begin with the padding's value.
  //#unroll i SUMS
  {
    let e = t + ${i}u * $Tu;
    store_q(e / HD4 * HEAD_STRIDE + 4u * (e % HD4), load_query(own_token[e / HD4], head, e % HD4));
  }
  //#if PADDED
  var acc_${i} = load_bias(p.v_offset + head, (t + ${i}u * $Tu) % HD4);
  //#else
  var acc_${i} = vec4f(0.0);
  //#end
  //#end

  for (var start = 0u; start < keys; start += KT) {
    let others = keys - start;
    fill_others(tile, start, keys, t);
    workgroupBarrier();
    for (var e = t; e < KT * HD4; e += $Tu) {
      store_other(e / HD4 * HEAD_STRIDE + 4u * (e % HD4), load_key(other_token[e / HD4], head, e % HD4));
    }
    workgroupBarrier();
    //#include attention_matrix_product.wgsl LEFT=q STRIDE=HEAD_STRIDE ORDER=col_major OTHER=column*HEAD_STRIDE+x ROUNDS=$SCORE_ROUNDS COUNT=$SCORE_COUNT ACROSS=$SCORE_ACROSS DEPTH=4u*p.head_vec4
    workgroupBarrier();
    let at = place_in_results(4u * quad, lane, $SCORE_ACROSSu);
    var s_0_0 = vec4f(
      result_at(at), result_at(at + MATRIX_COLUMNS), result_at(at + 2u * MATRIX_COLUMNS), result_at(at + 3u * MATRIX_COLUMNS),
    );
    // The tile's keys are done with.
    for (var e = t; e < KT * HD4; e += $Tu) {
      store_other(e / HD4 * HEAD_STRIDE + 4u * (e % HD4), load_value(other_token[e / HD4], head, e % HD4));
    }
    //#include attention_tile_softmax.wgsl
    let e = exp(s_0_0 - top);
    sum += e;
    let parts = split(e);
    for (var j = 0u; j < 4u; j++) {
      weight_hi[(4u * quad + j) * WEIGHT_STRIDE + lane] = parts.hi[j];
      weight_lo[(4u * quad + j) * WEIGHT_STRIDE + lane] = parts.lo[j];
    }
    workgroupBarrier();
    //#include attention_matrix_product.wgsl LEFT=weight STRIDE=WEIGHT_STRIDE ORDER=row_major OTHER=x*HEAD_STRIDE+column ROUNDS=$SUM_ROUNDS COUNT=$SUM_COUNT ACROSS=$SUM_ACROSS DEPTH=KT
    workgroupBarrier();
    //#unroll i SUMS
    {
      let e = t + ${i}u * $Tu;
      let slot = e / HD4;
      let at = place_in_results(slot, 4u * (e % HD4), $SUM_ACROSSu);
      let shrink = rescale[slot / 4u][slot % 4u];
      acc_${i} = fma(vec4f(shrink), acc_${i}, vec4f(result_at(at), result_at(at + 1u), result_at(at + 2u), result_at(at + 3u)));
    }
    //#end
  }

  // What every query's weights sum to.
  stage[LANES_AT + t] = poisoned4(sum, total, MOST_SCORE);
  workgroupBarrier();
  if (lane == 0u) { rescale[quad] = over_lanes(quad); }
  workgroupBarrier();
  //#unroll i SUMS
  {
    let e = t + ${i}u * $Tu;
    let slot = e / HD4;
    if (is_real(tile, slot)) { out[(own_token[slot] * p.o_stride + head) / 4u + e % HD4] = acc_${i} / rescale[slot / 4u][slot % 4u]; }
  }
  //#end
}
