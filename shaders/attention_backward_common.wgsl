// What the passes of the encoder attention's backward share. A workgroup of 64 takes one row (d, h) of one window
// and one head, as attention.wgsl does; notation and the closed form of the padding are explained there.
//
// The first pass leaves a record per (row, head) that the others read:
//   dq (L·HD; real positions, then the padded ones')  lse (L)  dot (L)  T_d T_h T_w (L² each)  dT_d dT_h dT_w (L²
//   each)  db_q db_k db_v (HD each: what padded tokens give to the qkv bias)
struct Params { heads: u32, scale: f32, grid_d: u32, grid_h: u32, grid_w: u32, windows_w: u32, batch: u32 }
@group(0) @binding(0) var<uniform> p: Params;

const HD = $HDu;
const L = $Lu;
const AT_LSE = L * HD;
const AT_DOT = AT_LSE + L;
const AT_TABLES = AT_DOT + L;          // d, h, w: L² each
const AT_DTABLES = AT_TABLES + 3u * L * L;
const AT_BIAS = AT_DTABLES + 3u * L * L; // q, k, v: HD each
const RECORD = AT_BIAS + 3u * HD;

struct Row {
  d: u32, h: u32,          // within the window
  r0: u32, r1: u32, r2: u32, // the window's real extent
  window_token: u32,       // first token of the window
  token: u32,              // first token of the row
}

fn row_of(x: u32, batch: u32) -> Row {
  let w0 = (x % p.windows_w) * L;
  let h_abs = (x / p.windows_w) % p.grid_h;
  let d_abs = x / (p.windows_w * p.grid_h);
  let d = d_abs % L;
  let h = h_abs % L;
  let window_token = ((batch * p.grid_d + d_abs - d) * p.grid_h + h_abs - h) * p.grid_w + w0;
  return Row(
    d, h, min(L, p.grid_d - (d_abs - d)), min(L, p.grid_h - (h_abs - h)), min(L, p.grid_w - w0),
    window_token, window_token + (d * p.grid_h + h) * p.grid_w,
  );
}

// Where the record of row x (over the whole grid, as dispatched) begins.
fn record_at(x: u32, head: u32, batch: u32) -> u32 {
  let rows = p.grid_d * p.grid_h * p.windows_w;
  return ((batch * rows + x) * p.heads + head) * RECORD;
}
