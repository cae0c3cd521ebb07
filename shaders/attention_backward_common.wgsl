// What the passes of the encoder attention's backward share. A workgroup of 64 takes one row (d, h) of one window
// and one head, as attention.wgsl does; notation and the closed form of the padding are explained there.
//
// The first pass leaves a record per (row, head) that the others read:
//   dq (L·HD; real positions, then the padded ones')  lse (L)  dot (L)  T_d T_h T_w (L² each)  dT_d dT_h dT_w (L²
//   each)  db_q db_k db_v (HD each: what padded tokens give to the qkv bias)
//#include attention_window.wgsl
const AT_LSE = L * HD;
const AT_DOT = AT_LSE + L;
const AT_TABLES = AT_DOT + L;          // d, h, w: L² each
const AT_DTABLES = AT_TABLES + 3u * L * L;
const AT_BIAS = AT_DTABLES + 3u * L * L; // q, k, v: HD each
const RECORD = AT_BIAS + 3u * HD;

// Where the record of row x (over the whole grid, as dispatched) begins.
fn record_at(x: u32, head: u32, batch: u32) -> u32 {
  let rows = p.grid_d * p.grid_h * p.windows_w;
  return ((batch * rows + x) * p.heads + head) * RECORD;
}
