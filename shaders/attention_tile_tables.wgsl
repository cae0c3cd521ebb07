// The relative position terms of a tile's rows, T_d T_h T_w of attention.wgsl, from the queries: real ones, then the q bias. What real
// pairs want of them stays in workgroup memory, by own quads (T_d) and rows (T_h, T_w).
var<workgroup> rel_d: array<vec4f, $REL_D>;  // [quad][w'], of the quad's 4 queries
var<workgroup> rel_h: array<f32, $REL_H>;    // [row][d'][w']
var<workgroup> rel_w: array<f32, $REL_W>;    // [row][h'][w']
var<workgroup> other_place: array<u32, KT>;  // where in rel_h, and shifted by 16 in rel_w, an other has its row's terms
const LQ = (L + 3u) / 4u;
const QUADS = ROW_SLOTS / 4u; // of a row
//#if PADDED
// Whole tables, until the padding's mass is known: in `stage`, by columns, as vec4 of 4 neighbouring i.
const COLUMNS_H = 0u;
const COLUMNS_W = ROWS * L * LQ;
const COLUMNS_D = 2u * ROWS * L * LQ;
var<workgroup> mass: array<f32, $ROWS_L>; // M[w'] of every row
var<workgroup> pad_mass: array<f32, QT>;  // logsumexp over w' of T_d + M

fn column_value(at: u32, i: u32) -> f32 { return stage[at + i / 4u][i % 4u]; }
fn column_lse(at: u32, start: u32, stop: u32) -> f32 {
  var m = LOWEST;
  for (var i = start; i < stop; i++) { m = max(m, column_value(at, i)); }
  var sum = 0.0;
  var total = 0.0;
  for (var i = start; i < stop; i++) {
    sum += exp(column_value(at, i) - m);
    total += column_value(at, i);
  }
  return select(LOWEST, poisoned(m + log(sum), total, MOST_SCORE), start < stop);
}
fn logsumexp2(a: f32, b: f32) -> f32 {
  let m = max(a, b);
  return poisoned(m + log(exp(a - m) + exp(b - m)), a + b, MOST_PADDING);
}
//#end

// sum + a · b by columns: component i from column i of both.
fn add_columns(sum: vec4f, a: mat4x4f, b: mat4x4f) -> vec4f {
  return fma(a[3], b[3], fma(a[2], b[2], fma(a[1], b[1], fma(a[0], b[0], sum))));
}

// Position i of a row as a query: the q bias where there is none.
fn query_at(tile: Tile, row: vec3u, i: u32, head: u32, x: u32) -> vec4f {
  if (i < tile.r2) { return load_query(token_at(tile, vec3u(row.xy, i)), head, x); }
  return load_bias(head, x);
}

fn fill_tables(tile: Tile, group: vec3u, head: u32, t: u32) {
  for (var e = t; e < ROWS * LQ * L; e += $Tu) {
    let j = e % L;
    let i = e / L % LQ * 4u;
    let r = e / (L * LQ);
    let row = place_of(tile, r * ROW_SLOTS);
    let r_h = (row.y + L - 1u - j) * HD;
    let r_d = (row.x + L - 1u - j) * HD;
    let r_w = (i + L - 1u - j) * HD;
    var to_d = vec4f(0.0);
    var to_h = vec4f(0.0);
    var to_w = vec4f(0.0);
    for (var x = 0u; x < p.head_vec4; x++) {
      let q = transpose(mat4x4f(
        query_at(tile, row, i, head, x), query_at(tile, row, i + 1u, head, x),
        query_at(tile, row, i + 2u, head, x), query_at(tile, row, i + 3u, head, x),
      ));
      to_d = add(to_d, load_table_d(r_d, x), q);
      to_h = add(to_h, load_table_h(r_h, x), q);
      // Rows of the table that only i past the edge would read are not there: what is read instead is not used.
      let w0 = load_table_w(r_w, x);
      let w1 = load_table_w(min(r_w + HD, (2u * L - 2u) * HD), x);
      let w2 = load_table_w(min(r_w + 2u * HD, (2u * L - 2u) * HD), x);
      let w3 = load_table_w(min(r_w + 3u * HD, (2u * L - 2u) * HD), x);
      to_w = add_columns(to_w, q, transpose(mat4x4f(w0, w1, w2, w3)));
    }
    let slot = i - min(i, tile.first);
    let own = i >= tile.first && slot < ROW_SLOTS;
    if (j < E2) {
      if (own) { rel_d[(r * QUADS + slot / 4u) * E2 + j] = to_d; }
      for (var n = 0u; n < 4u; n++) {
        if (i + n < E0) { rel_h[(r * E0 + i + n) * E2 + j] = to_h[n]; }
        if (i + n < E1) { rel_w[(r * E1 + i + n) * E2 + j] = to_w[n]; }
      }
    }
    //#if PADDED
    stage[COLUMNS_H + (r * L + j) * LQ + i / 4u] = to_h;
    stage[COLUMNS_W + (r * L + j) * LQ + i / 4u] = to_w;
    if (own) { stage[COLUMNS_D + (r * QUADS + slot / 4u) * L + j] = to_d; }
    //#end
    //#if RECORD
    keep_tables(tile, group, r, i, j, to_d, to_h, to_w);
    //#end
  }
  workgroupBarrier();
  //#if PADDED
  for (var e = t; e < ROWS * L; e += $Tu) {
    let at = e * LQ;
    let real_h = column_lse(COLUMNS_H + at, 0u, tile.r0);
    let pad_h = column_lse(COLUMNS_H + at, tile.r0, L);
    let real_w = column_lse(COLUMNS_W + at, 0u, tile.r1);
    let pad_w = column_lse(COLUMNS_W + at, tile.r1, L);
    let full_h = logsumexp2(real_h, pad_h);
    let full_w = logsumexp2(real_w, pad_w);
    mass[e] = select(full_h + full_w, logsumexp2(pad_h + full_w, real_h + pad_w), e % L < tile.r2);
    //#if RECORD
    column_pad_h[e] = pad_h;
    column_full_h[e] = full_h;
    column_pad_w[e] = pad_w;
    column_full_w[e] = full_w;
    //#end
  }
  workgroupBarrier();
  for (var slot = t; slot < QT; slot += $Tu) {
    let r = min(slot / ROW_SLOTS, ROWS - 1u);
    let at = COLUMNS_D + (r * QUADS + slot % ROW_SLOTS / 4u) * L;
    var m = LOWEST;
    for (var j = 0u; j < L; j++) { m = max(m, stage[at + j][slot % 4u] + mass[r * L + j]); }
    var sum = 0.0;
    var total = 0.0;
    for (var j = 0u; j < L; j++) {
      let value = stage[at + j][slot % 4u] + mass[r * L + j];
      sum += exp(value - m);
      total += value;
    }
    pad_mass[slot] = poisoned(m + log(sum), total, MOST_PADDING);
  }
  workgroupBarrier();
  //#end
}

// Where the others of the tile that begins at `start` are.
fn fill_others(tile: Tile, start: u32, keys: u32, t: u32) {
  for (var n = t; n < KT; n += $Tu) {
    let place = other_of(tile, min(start + n, keys - 1u));
    other_token[n] = token_at(tile, place);
    other_place[n] = (place.x * E2 + place.z) | ((place.y * E2 + place.z) << 16u);
  }
}

// T_d + T_h + T_w of a quad's queries (all in one row) and one other.
fn relative(quad: u32, slot: u32) -> vec4f {
  let row = min(quad / QUADS, ROWS - 1u);
  let at = other_place[slot];
  let by_h = at & 0xffffu;
  let by_row = rel_h[row * E0 * E2 + by_h] + rel_w[row * E1 * E2 + (at >> 16u)];
  return rel_d[min(quad, ROWS * QUADS - 1u) * E2 + by_h % E2] + vec4f(by_row);
}
