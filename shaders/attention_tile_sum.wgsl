// Adds the others of quad `quad_of_others`, weighted as `stage` has it, to ${TO}; only the first `others` of the tile count. $OTHER loads.
if (part < PARTS) {
  let first_other = quad_of_others * 4u * LANES;
  let stop = min(LANES, others - min(others, first_other));
  for (var slot = part; slot < stop; slot += PARTS) {
    let at = first_other + slot;
    let t0 = other_token[at];
    let t1 = other_token[at + LANES];
    let t2 = other_token[at + 2u * LANES];
    let t3 = other_token[at + 3u * LANES];
    //#unroll c COLUMN_BLOCKS
    {
      let x = min(column + ${c}u * COLUMNS, HD4 - 1u);
      let m = mat4x4f($OTHER(t0, head, x), $OTHER(t1, head, x), $OTHER(t2, head, x), $OTHER(t3, head, x));
      //#unroll i STRIP
      ${TO}_${c}_${i} = add(${TO}_${c}_${i}, stage[(strip * STRIP + ${i}u) * LANES + slot], m);
      //#end
    }
    //#end
  }
}
