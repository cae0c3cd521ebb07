// store_$NAME: puts v's two halves (split.wgsl) into ${NAME}_hi and ${NAME}_lo, as elements `to` … `to` + 3.
fn store_$NAME(to: u32, v: vec4f) {
  let parts = split(v);
  for (var j = 0u; j < 4u; j++) {
    ${NAME}_hi[to + j] = parts.hi[j];
    ${NAME}_lo[to + j] = parts.lo[j];
  }
}
