// What the forward kernels in tiles (attention_tiled.wgsl, attention_matrix.wgsl) read and write, and functions of theirs.
struct Params {
  heads: u32, scale: f32, queries: u32, keys: u32, head_vec4: u32, lanes: u32,
  q_stride: u32, kv_stride: u32, o_stride: u32, k_offset: u32, v_offset: u32,
  //#if WINDOW
  grid_d: u32, grid_h: u32, grid_w: u32, windows_h: u32, windows_w: u32,
  //#end
}
//#include attention_bindings.wgsl
//#include attention_tile.wgsl
//#include finite.wgsl
//#include attention_load.wgsl NAME=q FROM=q_in
//#include attention_load.wgsl NAME=k FROM=k_in
//#include attention_load.wgsl NAME=v FROM=v_in

fn load_query(token: u32, head: u32, x: u32) -> vec4f {
  //#if RAGGED_HEAD
  if (x >= HD4) { return vec4f(0.0); }
  //#end
  return load_q(token * p.q_stride + head, x);
}
fn load_key(token: u32, head: u32, x: u32) -> vec4f {
  //#if RAGGED_HEAD
  if (x >= HD4) { return vec4f(0.0); }
  //#end
  return load_k(token * p.kv_stride + p.k_offset + head, x);
}
fn load_value(token: u32, head: u32, x: u32) -> vec4f { return load_v(token * p.kv_stride + p.v_offset + head, x); }

//#if WINDOW
//#include attention_load.wgsl NAME=bias FROM=qkv_bias
//#include attention_load.wgsl NAME=table_d FROM=table_d
//#include attention_load.wgsl NAME=table_h FROM=table_h
//#include attention_load.wgsl NAME=table_w FROM=table_w
//#include attention_tile_window.wgsl
//#include attention_tile_tables.wgsl
//#end

var<workgroup> rescale: array<vec4f, $OWN_QUADS>; // of every quad: what its sums so far shrink by

fn poisoned4(value: vec4f, suspect: vec4f, most: f32) -> vec4f {
  return vec4f(
    poisoned(value.x, suspect.x, most), poisoned(value.y, suspect.y, most),
    poisoned(value.z, suspect.z, most), poisoned(value.w, suspect.w, most),
  );
}
