// What the tiled passes of the encoder attention's backward, for GPUs, share: bindings are in vec4 where heads are, and records as
// attention_backward_common.wgsl has them (with heads in vec4 every record begins, and the first pass's dq ends, at one).
struct Params {
  heads: u32, scale: f32, head_vec4: u32, lanes: u32,
  grid_d: u32, grid_h: u32, grid_w: u32, windows_h: u32, windows_w: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if SCALAR
alias Element = f32;
//#else
alias Element = vec4f;
//#end
@group(0) @binding(1) var<storage, read> qkv: array<Element>;
//#include attention_tile.wgsl
//#include attention_tile_window.wgsl
//#include attention_records.wgsl
//#include attention_load.wgsl NAME=qkv FROM=qkv

// vec4 x of a token's query, key, value (0, 1, 2); none past the head's end.
fn load_part(which: u32, token: u32, head: u32, x: u32) -> vec4f {
  //#if RAGGED_HEAD
  if (x >= HD4) { return vec4f(0.0); }
  //#end
  return load_qkv((token * 3u + which) * p.heads * HD + head, x);
}
fn load_query(token: u32, head: u32, x: u32) -> vec4f { return load_part(0u, token, head, x); }
fn load_key(token: u32, head: u32, x: u32) -> vec4f { return load_part(1u, token, head, x); }
fn load_value(token: u32, head: u32, x: u32) -> vec4f { return load_part(2u, token, head, x); }

@group(0) @binding(2) var<storage, read> dout: array<Element>;
//#include attention_load.wgsl NAME=out FROM=dout
fn load_dout(token: u32, head: u32, x: u32) -> vec4f {
  //#if RAGGED_HEAD
  if (x >= HD4) { return vec4f(0.0); }
  //#end
  return load_out(token * p.heads * HD + head, x);
}

// Where the record of row (d, h) of the tile's window is.
fn record_of(tile: Tile, row: vec2u, group: vec3u) -> u32 {
  return ((tile.record + (row.x * p.grid_h + row.y) * p.windows_w) * p.heads + group.y) * RECORD;
}
