// Adds up ${TO} over the parts: part 0 has the whole.
for (var half = PARTS / 2u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (part >= half && part < 2u * half) {
    //#unroll c COLUMN_BLOCKS
    //#unroll i STRIP
    stage[(((part - half) * $COLUMN_BLOCKSu + ${c}u) * QT + strip * STRIP + ${i}u) * COLUMNS + column] = ${TO}_${c}_${i};
    //#end
    //#end
  }
  workgroupBarrier();
  if (part < half) {
    //#unroll c COLUMN_BLOCKS
    //#unroll i STRIP
    ${TO}_${c}_${i} += stage[((part * $COLUMN_BLOCKSu + ${c}u) * QT + strip * STRIP + ${i}u) * COLUMNS + column];
    //#end
    //#end
  }
}
