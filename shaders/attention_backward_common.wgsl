// What the passes of the encoder attention's backward share. A workgroup of 64 takes one row (d, h) of one window
// and one head, as attention.wgsl does; notation and the closed form of the padding are explained there.
//#include attention_window.wgsl
//#include attention_records.wgsl

// Where the record of row x (over the whole grid, as dispatched) begins.
fn record_at(x: u32, head: u32, batch: u32) -> u32 {
  let rows = p.grid_d * p.grid_h * p.windows_w;
  return ((batch * rows + x) * p.heads + head) * RECORD;
}
