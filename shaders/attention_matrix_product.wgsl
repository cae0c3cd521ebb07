// The product of ${LEFT} and the tile's others, whose step x of a matrix's columns begins at $OTHER: matrices of `results`, $ACROSS across
// and $COUNT in all, by turns of the subgroups. In the last turn those with none left do the last once more, to where nobody reads.
for (var turn = 0u; turn < $ROUNDSu; turn++) {
  let matrix = turn * SUBGROUPS + subgroup;
  let which = min(matrix, $COUNTu - 1u);
  let row = which / $ACROSSu * MATRIX_ROWS;
  let column = which % $ACROSSu * MATRIX_COLUMNS;
  // Written out: declared without a value, matrices were zero in the first turn alone (bench/kernels-on-gpus.md).
  var high = subgroup_matrix_result<f32, $MN, $MM>();
  var fine = subgroup_matrix_result<f32, $MN, $MM>();
  for (var x = 0u; x < $DEPTH; x += $MKu) {
    let own = row * $STRIDE + x;
    let other = $OTHER;
    let other_high = subgroupMatrixLoad<subgroup_matrix_right<f16, $MN, $MK>, $ORDER>(&other_hi, other, HEAD_STRIDE);
    let other_low = subgroupMatrixLoad<subgroup_matrix_right<f16, $MN, $MK>, $ORDER>(&other_lo, other, HEAD_STRIDE);
    let own_high = subgroupMatrixLoad<subgroup_matrix_left<f16, $MK, $MM>, row_major>(&${LEFT}_hi, own, $STRIDE);
    let own_low = subgroupMatrixLoad<subgroup_matrix_left<f16, $MK, $MM>, row_major>(&${LEFT}_lo, own, $STRIDE);
    high = subgroupMatrixMultiplyAccumulate(own_high, other_high, high);
    fine = subgroupMatrixMultiplyAccumulate(own_low, other_high, fine);
    fine = subgroupMatrixMultiplyAccumulate(own_high, other_low, fine);
  }
  subgroupMatrixStore<row_major>(&results, matrix * RESULT, high, MATRIX_COLUMNS);
  subgroupMatrixStore<row_major>(&results, FINE_AT + matrix * RESULT, fine, MATRIX_COLUMNS);
}
