// Adds the others of quad `quad_of_others`, weighted as `stage` has it, to ${TO}; only the first `others` of the tile count. $OTHER loads.
if (part < PARTS) {
  let first_other = quad_of_others * 4u * LANES;
  let stop = min(LANES, others - min(others, first_other));
  for (var slot = part; slot < stop; slot += $ROUNDS_AT_ONCEu * PARTS) {
    // Past the tile's others weights are zero, and tokens the last one's.
    //#unroll r ROUNDS_AT_ONCE
    let at_${r} = slot + ${r}u * PARTS;
    let from_${r} = vec4u(
      other_token[first_other + at_${r}], other_token[first_other + at_${r} + LANES],
      other_token[first_other + at_${r} + 2u * LANES], other_token[first_other + at_${r} + 3u * LANES],
    );
    //#end
    //#unroll c COLUMN_BLOCKS
    {
      let x = min(column + ${c}u * COLUMNS, HD4 - 1u);
      //#unroll r ROUNDS_AT_ONCE
      let m_${r} = mat4x4f(
        $OTHER(from_${r}.x, head, x), $OTHER(from_${r}.y, head, x), $OTHER(from_${r}.z, head, x), $OTHER(from_${r}.w, head, x),
      );
      //#end
      //#unroll r ROUNDS_AT_ONCE
      //#unroll i STRIP
      ${TO}_${c}_${i} = add(${TO}_${c}_${i}, stage[(strip * STRIP + ${i}u) * LANES + at_${r}], m_${r});
      //#end
      //#end
    }
    //#end
  }
}
