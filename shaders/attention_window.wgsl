// Where a row (d, h) of a window lies: for kernels whose workgroups take one row of one window and one head each.
struct Params { heads: u32, scale: f32, grid_d: u32, grid_h: u32, grid_w: u32, windows_w: u32, batch: u32 }
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
