// Encoder attention, backward, first pass, for GPUs: what attention_backward_rows.wgsl computes, a workgroup for several rows of
// queries of one window, in tiles as attention_tile.wgsl says. Writes the rows' records.
//#include attention_backward_tiled.wgsl
@group(0) @binding(3) var<storage, read> qkv_bias: array<Element>;
@group(0) @binding(4) var<storage, read> table_d: array<Element>;
@group(0) @binding(5) var<storage, read> table_h: array<Element>;
@group(0) @binding(6) var<storage, read> table_w: array<Element>;
@group(0) @binding(7) var<storage, read> attended: array<Element>; // the forward result
@group(0) @binding(8) var<storage, read_write> record: array<f32>;
//#include attention_load.wgsl NAME=bias FROM=qkv_bias
//#include attention_load.wgsl NAME=table_d FROM=table_d
//#include attention_load.wgsl NAME=table_h FROM=table_h
//#include attention_load.wgsl NAME=table_w FROM=table_w
//#include attention_load.wgsl NAME=attended FROM=attended
//#include finite.wgsl
//#include attention_tile_tables.wgsl

//#if PADDED
var<workgroup> column_pad_h: array<f32, $ROWS_L>;
var<workgroup> column_full_h: array<f32, $ROWS_L>;
var<workgroup> column_pad_w: array<f32, $ROWS_L>;
var<workgroup> column_full_w: array<f32, $ROWS_L>;
var<workgroup> pad_weight: array<vec4f, $OWN_QUADS>; // the virtual key's weight, by quads
var<workgroup> pad_ds: array<vec4f, $OWN_QUADS>;
var<workgroup> d_mass: array<f32, $ROWS_L>;
//#end

// Row r of the tile; there are fewer in a window's last.
fn row_of(tile: Tile, r: u32) -> vec2u { return place_of(tile, r * ROW_SLOTS).xy; }
fn has_row(tile: Tile, r: u32) -> bool { return tile.row + r < tile.r0 * tile.r1; }

fn keep_tables(tile: Tile, group: vec3u, r: u32, i: u32, j: u32, to_d: vec4f, to_h: vec4f, to_w: vec4f) {
  if (!has_row(tile, r)) { return; }
  let at = record_of(tile, row_of(tile, r), group) + AT_TABLES + i * L + j;
  for (var n = 0u; n < min(4u, L - i); n++) {
    record[at + n * L] = to_d[n];
    record[at + n * L + L * L] = to_h[n];
    record[at + n * L + 2u * L * L] = to_w[n];
  }
}

fn keep4(at: u32, x: u32, v: vec4f) {
  for (var j = 0u; j < min(4u, HD - 4u * x); j++) { record[at + 4u * x + j] = v[j]; }
}
fn kept4(at: u32, x: u32) -> vec4f {
  var v = vec4f(0.0);
  for (var j = 0u; j < min(4u, HD - 4u * x); j++) { v[j] = record[at + 4u * x + j]; }
  return v;
}

fn own4(t: u32, quad: u32) -> vec4u {
  return vec4u(own_token[4u * quad], own_token[4u * quad + 1u], own_token[4u * quad + 2u], own_token[4u * quad + 3u]);
}

// Σ over a row's queries of what `stage` has for other n.
fn over_row(r: u32, n: u32) -> f32 {
  var sum = 0.0;
  for (var q = 0u; q < QUADS; q++) { sum += stage[LANES_AT + (r * QUADS + q) * LANES + n % LANES][n / LANES]; }
  return sum;
}

@compute @workgroup_size($T)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y * HD;
  let width = p.heads * HD;
  //#include attention_tile_roles.wgsl
  let tile = tile_of(group);
  if (tile.row >= tile.r0 * tile.r1) { return; }
  let keys = tile.r0 * tile.r1 * tile.r2;
  for (var e = t; e < QT; e += $Tu) { own_token[e] = token_at(tile, place_of(tile, e)); }
  fill_tables(tile, group, head, t);

  // dout · out of the quad's queries; and what the virtual key of the padding needs.
  let own = own4(t, quad);
  let counts = select(vec4f(0.0), vec4f(1.0), vec4<bool>(
    is_real(tile, 4u * quad), is_real(tile, 4u * quad + 1u), is_real(tile, 4u * quad + 2u), is_real(tile, 4u * quad + 3u),
  ));
  var part_product = vec4f(0.0);
  //#if PADDED
  var part_qk = vec4f(0.0);
  var part_dp = vec4f(0.0);
  //#end
  for (var x = lane; x < HD4; x += LANES) {
    let d = transpose(mat4x4f(
      load_dout(own.x, head, x), load_dout(own.y, head, x), load_dout(own.z, head, x), load_dout(own.w, head, x),
    ));
    let a = transpose(mat4x4f(
      load_attended(own.x * width + head, x), load_attended(own.y * width + head, x),
      load_attended(own.z * width + head, x), load_attended(own.w * width + head, x),
    ));
    part_product = add_columns(part_product, d, a);
    //#if PADDED
    let q = transpose(mat4x4f(
      load_query(own.x, head, x), load_query(own.y, head, x), load_query(own.z, head, x), load_query(own.w, head, x),
    ));
    part_qk = add(part_qk, load_bias(width + head, x), q);
    part_dp = add(part_dp, load_bias(2u * width + head, x), d);
    //#end
  }
  let product = sum_over_lanes(part_product, quad, t);
  //#if PADDED
  let qk = sum_over_lanes(part_qk, quad, t);
  let pad_dp = sum_over_lanes(part_dp, quad, t);
  //#end

  // Log-sum-exp of every query's scores: each lane's own, then all lanes'.
  var top = vec4f(LOWEST);
  var sum = vec4f(0.0);
  for (var start = 0u; start < keys; start += KT) {
    fill_others(tile, start, keys, t);
    workgroupBarrier();
    //#include attention_tile_product.wgsl TO=s OWN=load_query OTHER=load_key
    var higher = top;
    //#unroll i 4
    s_0_${i} = fma(vec4f(p.scale), s_0_${i}, relative(quad, ${i}u * LANES + lane));
    s_0_${i} = select(vec4f(LOWEST), s_0_${i}, start + ${i}u * LANES + lane < keys);
    higher = max(higher, s_0_${i});
    //#end
    sum *= exp(top - higher);
    top = higher;
    //#unroll i 4
    sum += exp(s_0_${i} - top);
    //#end
    workgroupBarrier();
  }
  stage[LANES_AT + t] = top;
  workgroupBarrier();
  var most = top;
  for (var l = 0u; l < p.lanes; l++) { most = max(most, stage[LANES_AT + quad * LANES + l]); }
  workgroupBarrier();
  var lse = most + log(sum_over_lanes(sum * exp(top - most), quad, t));
  //#if PADDED
  let mass_at = 4u * quad;
  let pad_score = fma(vec4f(p.scale), qk, vec4f(pad_mass[mass_at], pad_mass[mass_at + 1u], pad_mass[mass_at + 2u], pad_mass[mass_at + 3u]));
  let larger = max(lse, pad_score);
  lse = larger + log(exp(lse - larger) + exp(pad_score - larger));
  if (lane == 0u) {
    let weight = counts * exp(pad_score - lse);
    pad_weight[quad] = weight;
    pad_ds[quad] = weight * (pad_dp - product);
  }
  //#end
  if (lane == 0u) {
    for (var n = 0u; n < 4u; n++) {
      let slot = 4u * quad + n;
      if (is_real(tile, slot)) {
        let at = record_of(tile, row_of(tile, slot / ROW_SLOTS), group) + slot % ROW_SLOTS;
        record[at + AT_LSE] = lse[n];
        record[at + AT_DOT] = product[n];
      }
    }
  }

  // ds of every pair, and what sums it: dq, and the tables' gradients, of which every invocation has some entries.
  //#unroll c COLUMN_BLOCKS
  //#unroll i STRIP
  var dq_${c}_${i} = vec4f(0.0);
  //#end
  //#end
  //#unroll m OWN_D
  var td_${m} = 0.0;
  //#end
  //#unroll m OWN_H
  var th_${m} = 0.0;
  //#end
  //#unroll m OWN_W
  var tw_${m} = 0.0;
  //#end
  for (var start = 0u; start < keys; start += KT) {
    let others = keys - start;
    let stop = min(KT, others);
    fill_others(tile, start, keys, t);
    workgroupBarrier();
    //#include attention_tile_product.wgsl TO=s OWN=load_query OTHER=load_key
    //#include attention_tile_product.wgsl TO=g OWN=load_dout OTHER=load_value
    //#unroll i 4
    let weight_${i} = counts * exp(fma(vec4f(p.scale), s_0_${i}, relative(quad, ${i}u * LANES + lane)) - lse);
    let ds_${i} = select(vec4f(0.0), weight_${i} * (g_0_${i} - product), ${i}u * LANES + lane < others);
    //#end
    //#include attention_tile_weights.wgsl OF=ds
    let one = vec4f(1.0);
    stage[LANES_AT + t] = vec4f(dot(ds_0, one), dot(ds_1, one), dot(ds_2, one), dot(ds_3, one));
    workgroupBarrier();
    let quad_of_others = 0u;
    //#include attention_tile_sum.wgsl TO=dq OTHER=load_key
    let rest = start % tile.r2;
    //#unroll m OWN_D
    {
      let e = t + ${m}u * $Tu;
      let w = e % E2;
      if (e < QT * E2 && w < tile.r2) {
        let first = select(w + tile.r2 - rest, w - rest, w >= rest);
        for (var n = first; n < stop; n += tile.r2) { td_${m} += stage[e / E2 * LANES + n % LANES][n / LANES]; }
      }
    }
    //#end
    //#unroll m OWN_H
    {
      let e = t + ${m}u * $Tu;
      let w = e % E2;
      if (e < ROWS * E0 * E2 && w < tile.r2) {
        var n = e / E2 % E0 * tile.r1 * tile.r2 + w - start; // may wrap below zero
        for (var h = 0u; h < tile.r1; h++) {
          if (n < stop) { th_${m} += over_row(e / (E0 * E2), n); }
          n += tile.r2;
        }
      }
    }
    //#end
    //#unroll m OWN_W
    {
      let e = t + ${m}u * $Tu;
      let w = e % E2;
      let h = e / E2 % E1;
      if (e < ROWS * E1 * E2 && w < tile.r2 && h < tile.r1) {
        var n = h * tile.r2 + w - start;
        for (var d = 0u; d < tile.r0; d++) {
          if (n < stop) { tw_${m} += over_row(e / (E1 * E2), n); }
          n += tile.r1 * tile.r2;
        }
      }
    }
    //#end
    workgroupBarrier();
  }
  //#include attention_tile_parts.wgsl TO=dq
  if (part == 0u) {
    //#unroll i STRIP
    {
      let slot = strip * STRIP + ${i}u;
      if (is_real(tile, slot)) {
        let at = record_of(tile, row_of(tile, slot / ROW_SLOTS), group) + slot % ROW_SLOTS * HD;
        //#unroll c COLUMN_BLOCKS
        if (column + ${c}u * COLUMNS < HD4) { keep4(at, column + ${c}u * COLUMNS, p.scale * dq_${c}_${i}); }
        //#end
      }
    }
    //#end
  }

  // The tables' gradients: of real pairs, zero elsewhere.
  for (var e = t; e < ROWS * L * L; e += $Tu) {
    let r = e / (L * L);
    let i = e / L % L;
    let j = e % L;
    if (has_row(tile, r)) {
      let at = record_of(tile, row_of(tile, r), group) + AT_DTABLES + e % (L * L);
      if (i >= tile.r2 || j >= E2) { record[at] = 0.0; }
      if (i >= E0 || j >= E2) { record[at + L * L] = 0.0; }
      if (i >= E1 || j >= E2) { record[at + 2u * L * L] = 0.0; }
    }
  }
  //#unroll m OWN_D
  {
    let e = t + ${m}u * $Tu;
    let slot = e / E2;
    if (e < QT * E2 && is_real(tile, slot)) {
      record[record_of(tile, row_of(tile, slot / ROW_SLOTS), group) + AT_DTABLES + slot % ROW_SLOTS * L + e % E2] = td_${m};
    }
  }
  //#end
  //#unroll m OWN_H
  {
    let e = t + ${m}u * $Tu;
    let r = e / (E0 * E2);
    if (e < ROWS * E0 * E2 && has_row(tile, r)) {
      record[record_of(tile, row_of(tile, r), group) + AT_DTABLES + L * L + e / E2 % E0 * L + e % E2] = th_${m};
    }
  }
  //#end
  //#unroll m OWN_W
  {
    let e = t + ${m}u * $Tu;
    let r = e / (E1 * E2);
    if (e < ROWS * E1 * E2 && has_row(tile, r)) {
      record[record_of(tile, row_of(tile, r), group) + AT_DTABLES + 2u * L * L + e / E2 % E1 * L + e % E2] = tw_${m};
    }
  }
  //#end
  storageBarrier();
  workgroupBarrier();

  //#if PADDED
  for (var e = t; e < ROWS * L; e += $Tu) {
    let r = e / L;
    let w = e % L;
    var all = 0.0;
    if (has_row(tile, r)) {
      let at = record_of(tile, row_of(tile, r), group) + w;
      for (var i = 0u; i < tile.r2; i++) {
        let slot = r * ROW_SLOTS + i;
        let share = pad_ds[slot / 4u][slot % 4u] * exp(record[at + AT_TABLES + i * L] + mass[e] - pad_mass[slot]);
        record[at + AT_DTABLES + i * L] += share;
        all += share;
      }
    }
    d_mass[e] = all;
  }
  workgroupBarrier();
  for (var e = t; e < ROWS * L * L; e += $Tu) {
    let r = e / (L * L);
    let i = e / L % L;
    let w = e % L;
    let column_at = r * L + w;
    // M[w'] sums over pairs (d', h') of which not both are real (all pairs where w' is padded itself).
    if (has_row(tile, r) && mass[column_at] > 0.5 * LOWEST) {
      let at = record_of(tile, row_of(tile, r), group) + i * L + w;
      let with_h = select(column_full_w[column_at], column_pad_w[column_at], w < tile.r2 && i < tile.r0);
      let with_w = select(column_full_h[column_at], column_pad_h[column_at], w < tile.r2 && i < tile.r1);
      record[at + AT_DTABLES + L * L] += d_mass[column_at] * exp(record[at + AT_TABLES + L * L] + with_h - mass[column_at]);
      record[at + AT_DTABLES + 2u * L * L] += d_mass[column_at] * exp(record[at + AT_TABLES + 2u * L * L] + with_w - mass[column_at]);
    }
  }
  storageBarrier();
  workgroupBarrier();
  //#end

  // From the tables to the queries that made them: real ones, and the bias at padded positions of the row.
  for (var e = t; e < ROWS * L * HD4; e += $Tu) {
    let r = e / (L * HD4);
    let i = e / HD4 % L;
    let x = e % HD4;
    if (has_row(tile, r)) {
      let row = row_of(tile, r);
      let base = record_of(tile, row, group);
      let at = base + AT_DTABLES + i * L;
      let real = i < tile.r2;
      var g = vec4f(0.0);
      if (real) {
        g = kept4(base + i * HD, x);
        //#if PADDED
        let slot = r * ROW_SLOTS + i;
        g += p.scale * pad_ds[slot / 4u][slot % 4u] * load_bias(width + head, x);
        //#end
      }
      for (var j = 0u; j < L; j++) {
        if (real) { g += record[at + j] * load_table_d((row.x + L - 1u - j) * HD, x); }
        g += record[at + L * L + j] * load_table_h((row.y + L - 1u - j) * HD, x);
        g += record[at + 2u * L * L + j] * load_table_w((i + L - 1u - j) * HD, x);
      }
      keep4(base + i * HD, x, g);
    }
  }
  storageBarrier();
  workgroupBarrier();
  for (var e = t; e < ROWS * HD4; e += $Tu) {
    let r = e / HD4;
    let x = e % HD4;
    if (has_row(tile, r)) {
      let base = record_of(tile, row_of(tile, r), group);
      var bq = vec4f(0.0);
      for (var i = tile.r2; i < L; i++) { bq += kept4(base + i * HD, x); }
      var bk = vec4f(0.0);
      var bv = vec4f(0.0);
      //#if PADDED
      for (var i = 0u; i < tile.r2; i++) {
        let slot = r * ROW_SLOTS + i;
        bk += p.scale * pad_ds[slot / 4u][slot % 4u] * load_query(own_token[slot], head, x);
        bv += pad_weight[slot / 4u][slot % 4u] * load_dout(own_token[slot], head, x);
      }
      //#end
      keep4(base + AT_BIAS, x, bq);
      keep4(base + AT_BIAS + HD, x, bk);
      keep4(base + AT_BIAS + 2u * HD, x, bv);
    }
  }
}
