// Multi-head attention for GPUs: what attention.wgsl computes (there are the notation and the closed form of the padding), in tiles as
// attention_tile.wgsl says. A workgroup owns queries: consecutive ones, or with WINDOW whole rows of one window, so that a key
// that was loaded serves them all. Keys go through workgroup memory; values are read as they lie, a row of the head by neighbours.
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

@compute @workgroup_size($T)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y * HD;
  //#include attention_tile_roles.wgsl

  //#if WINDOW
  let tile = tile_of(group);
  if (tile.row >= tile.r0 * tile.r1 || tile.first >= tile.r2) { return; }
  let keys = tile.r0 * tile.r1 * tile.r2;
  for (var e = t; e < QT; e += $Tu) { own_token[e] = token_at(tile, place_of(tile, e)); }
  fill_tables(tile, group, head, t);
  //#else
  let first_query = group.x * QT;
  let keys = p.keys;
  for (var e = t; e < QT; e += $Tu) { own_token[e] = group.z * p.queries + min(first_query + e, p.queries - 1u); }
  //#end

  // The virtual key of the padding is where sums begin: in lane and part 0.
  //#if PADDED
  var part_qk = vec4f(0.0);
  for (var x = lane; x < HD4; x += LANES) {
    let own = transpose(mat4x4f(
      load_query(own_token[4u * quad], head, x), load_query(own_token[4u * quad + 1u], head, x),
      load_query(own_token[4u * quad + 2u], head, x), load_query(own_token[4u * quad + 3u], head, x),
    ));
    part_qk = add(part_qk, load_bias(p.k_offset + head, x), own);
  }
  let qk = sum_over_lanes(part_qk, quad, t);
  let mass_at = 4u * quad;
  var top = fma(vec4f(p.scale), qk, vec4f(pad_mass[mass_at], pad_mass[mass_at + 1u], pad_mass[mass_at + 2u], pad_mass[mass_at + 3u]));
  var sum = poisoned4(select(vec4f(0.0), vec4f(1.0), lane == 0u), top, MOST_PADDING);
  //#unroll c COLUMN_BLOCKS
  let start_${c} = select(vec4f(0.0), load_bias(p.v_offset + head, min(column + ${c}u * COLUMNS, HD4 - 1u)), part == 0u);
  //#end
  //#else
  var top = vec4f(LOWEST);
  var sum = vec4f(0.0);
  //#unroll c COLUMN_BLOCKS
  let start_${c} = vec4f(0.0);
  //#end
  //#end
  var total = vec4f(0.0); // of the scores, for what softmax would hide
  //#unroll c COLUMN_BLOCKS
  //#unroll i STRIP
  var acc_${c}_${i} = start_${c};
  //#end
  //#end

  for (var start = 0u; start < keys; start += KT) {
    let others = keys - start;
    //#if WINDOW
    fill_others(tile, start, keys, t);
    //#else
    for (var n = t; n < KT; n += $Tu) { other_token[n] = group.z * p.keys + min(start + n, keys - 1u); }
    //#end
    workgroupBarrier();
    //#include attention_tile_product.wgsl TO=s OWN=load_query OTHER=load_key

    var higher = top;
    //#unroll u OTHER_QUADS
    //#unroll i 4
    {
      let slot = (4u * ${u}u + ${i}u) * LANES + lane;
      //#if WINDOW
      s_${u}_${i} = fma(vec4f(p.scale), s_${u}_${i}, relative(quad, slot));
      //#else
      s_${u}_${i} *= p.scale;
      //#end
      total += s_${u}_${i};
      s_${u}_${i} = select(vec4f(LOWEST), s_${u}_${i}, slot < others);
      higher = max(higher, s_${u}_${i});
    }
    //#end
    //#end
    stage[LANES_AT + t] = higher;
    workgroupBarrier();
    for (var l = 0u; l < p.lanes; l += 2u) {
      let at = LANES_AT + quad * LANES + l;
      higher = max(higher, max(stage[at], stage[at + 1u]));
    }
    let factor = exp(top - higher);
    top = higher;
    sum *= factor;
    if (lane == 0u) { rescale[quad] = factor; }

    //#unroll u OTHER_QUADS
    {
      //#unroll i 4
      let e_${i} = exp(s_${u}_${i} - top);
      sum += e_${i};
      //#end
      //#include attention_tile_weights.wgsl OF=e
      workgroupBarrier();
      if (${u}u == 0u) {
        //#unroll i STRIP
        let shrink_${i} = rescale[(strip * STRIP + ${i}u) / 4u][${i}u % 4u];
        //#unroll c COLUMN_BLOCKS
        acc_${c}_${i} *= shrink_${i};
        //#end
        //#end
      }
      let quad_of_others = ${u}u;
      //#include attention_tile_sum.wgsl TO=acc OTHER=load_value
      workgroupBarrier();
    }
    //#end
  }

  // What every query's weights sum to.
  stage[LANES_AT + t] = poisoned4(sum, total, MOST_SCORE);
  workgroupBarrier();
  if (lane == 0u) { rescale[quad] = over_lanes(quad); }
  //#include attention_tile_parts.wgsl TO=acc
  workgroupBarrier();
  if (part > 0u) { return; }
  //#unroll i STRIP
  {
    let slot = strip * STRIP + ${i}u;
    let all = rescale[slot / 4u][${i}u % 4u];
    //#if WINDOW
    let real = is_real(tile, slot);
    //#else
    let real = first_query + slot < p.queries;
    //#end
    //#unroll c COLUMN_BLOCKS
    {
      let x = column + ${c}u * COLUMNS;
      if (real && x < HD4) {
        let y = acc_${c}_${i} / all;
        let at = own_token[slot] * p.o_stride + head;
        //#if SCALAR
        for (var j = 0u; j < 4u && 4u * x + j < HD; j++) { out[at + 4u * x + j] = y[j]; }
        //#else
        out[at / 4u + x] = y;
        //#end
      }
    }
    //#end
  }
  //#end
}
