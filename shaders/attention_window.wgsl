// Where a row (d, h) of a window lies: for kernels whose workgroups take one row of one window and one head each.
// `edge` and `head_vec4` are L and HD / 4 once more, for loops that are to stay loops: what they can count, drivers unroll, and
// on CPU adapters every load in it is long code.
struct Params {
  heads: u32, scale: f32, grid_d: u32, grid_h: u32, grid_w: u32, windows_w: u32, batch: u32, edge: u32, head_vec4: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

const HD = $HDu;
const L = $Lu;
struct Row {
  d: u32, h: u32,          // within the window
  r0: u32, r1: u32, r2: u32, // the window's real extent
  window_token: u32,       // first token of the window
  token: u32,              // first token of the row
}

fn row_of(x: u32, batch: u32) -> Row {
  return row_at(x % p.windows_w, (x / p.windows_w) % p.grid_h, x / (p.windows_w * p.grid_h), batch);
}

// The row at (d_abs, h_abs) of the grid, in window w_window of those along w.
fn row_at(w_window: u32, h_abs: u32, d_abs: u32, batch: u32) -> Row {
  let w0 = w_window * L;
  let d = d_abs % L;
  let h = h_abs % L;
  let window_token = ((batch * p.grid_d + d_abs - d) * p.grid_h + h_abs - h) * p.grid_w + w0;
  return Row(
    d, h, min(L, p.grid_d - (d_abs - d)), min(L, p.grid_h - (h_abs - h)), min(L, p.grid_w - w0),
    window_token, window_token + (d * p.grid_h + h) * p.grid_w,
  );
}
