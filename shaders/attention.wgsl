// Multi-head attention, online softmax over tiles of $KT keys; scores never reach memory.
//
// A workgroup of 64 owns one head and up to $QT queries.
//   plain    queries are consecutive tokens of (B, T, heads · head_dim); keys and values have their own length
//   WINDOW   queries are those of one row (d, h) within one window of a channels-last grid, keys the real
//            positions of that window; with the relative position terms as SAM-Med3D computes them (SPEC A1):
//              score = scale·q·k + rel_d[w, w'] + rel_h[d', w'] + rel_w[h', w']
//              rel_d[w, w'] = q[d,h,w]·R_d[d−w'],  rel_h[d', w'] = q[d,h,d']·R_h[h−w'],  rel_w[h', w'] = q[d,h,h']·R_w[h'−w']
//            where a q at a padded position of the row is the q part of qkv.bias.
//   PADDED   windows may have padded keys; they share k = b_k and v = b_v and enter as one virtual key of
//            log-mass  scale·q·b_k + logsumexp over w' (rel_d[w, w'] + M[w'])  (closed form, SPEC A1)
struct Params {
  heads: u32, scale: f32, queries: u32, keys: u32,
  q_stride: u32, k_stride: u32, v_stride: u32, o_stride: u32,
  q_offset: u32, k_offset: u32, v_offset: u32,
  grid_d: u32, grid_h: u32, grid_w: u32, windows_w: u32, tiles: u32,
}
//#include attention_bindings.wgsl

const HD = $HDu;   // head_dim
const HD4 = $HD4u; // head_dim in vec4, rounded up
const QT = $QTu;
const KT = $KTu;
const LOWEST = -1.0e30; // stands for −∞: sums of two stay finite, and exp(LOWEST − m) is 0
const PARTS = 64u / QT; // invocations that share a query's softmax
const GROUPS = 64u / HD4; // queries that are summed at once: one invocation per vec4 of head_dim

//#if WINDOW
const L = $Lu; // window edge, or the grid's in a global block
var<workgroup> q_row: array<vec4f, $Q_ROW>;     // L positions of the row: real ones, then the q bias
var<workgroup> rel_d: array<f32, $REL_D>;       // [query][w']
var<workgroup> rel_h: array<f32, $REL>;         // [d'][w']
var<workgroup> rel_w: array<f32, $REL>;         // [h'][w']
//#if PADDED
var<workgroup> mass: array<f32, L>;            // M[w']
var<workgroup> pad_score: array<f32, QT>;
//#end
//#else
var<workgroup> q_row: array<vec4f, $Q_ROW>;
//#end
var<workgroup> scores: array<f32, $SCORES>;     // [query][key of the tile]
var<workgroup> part_max: array<f32, 64>;        // [query][part]
var<workgroup> part_sum: array<f32, 64>;
var<workgroup> running_max: array<f32, QT>;
var<workgroup> running_sum: array<f32, QT>;
var<workgroup> rescale: array<f32, QT>;

//#include attention_load.wgsl NAME=q FROM=q_in
//#include attention_load.wgsl NAME=k FROM=k_in
//#include attention_load.wgsl NAME=v FROM=v_in
//#if WINDOW
//#include attention_load.wgsl NAME=bias FROM=qkv_bias
//#include attention_load.wgsl NAME=table_d FROM=table_d
//#include attention_load.wgsl NAME=table_h FROM=table_h
//#include attention_load.wgsl NAME=table_w FROM=table_w
//#end

//#include finite.wgsl
//#if PADDED
//#include attention_padding.wgsl
//#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y * HD;
  let batch = group.z;
  //#if WINDOW
  let tile = group.x % p.tiles;
  let w0 = ((group.x / p.tiles) % p.windows_w) * L;
  let h_abs = (group.x / (p.tiles * p.windows_w)) % p.grid_h;
  let d_abs = group.x / (p.tiles * p.windows_w * p.grid_h);
  let d = d_abs % L;
  let h = h_abs % L;
  // The real extent of this window.
  let r0 = min(L, p.grid_d - (d_abs - d));
  let r1 = min(L, p.grid_h - (h_abs - h));
  let r2 = min(L, p.grid_w - w0);
  let window_token = ((batch * p.grid_d + d_abs - d) * p.grid_h + h_abs - h) * p.grid_w + w0;
  let first = tile * QT; // the first query's w
  if (first >= r2) { return; }
  let query_token = window_token + (d * p.grid_h + h) * p.grid_w + first;
  let queries = min(QT, r2 - first);
  let keys = r0 * r1 * r2;

  for (var e = t; e < L * HD4; e += 64u) {
    let w = e / HD4;
    if (w < r2) {
      q_row[e] = load_q((query_token - first + w) * p.q_stride + p.q_offset + head, e % HD4);
    } else {
      q_row[e] = load_bias(head, e % HD4);
    }
  }
  workgroupBarrier();
  for (var e = t; e < L * L; e += 64u) {
    let i = e / L;
    let j = e % L;
    var sum_h = 0.0;
    var sum_w = 0.0;
    for (var x = 0u; x < HD4; x++) {
      let v = q_row[i * HD4 + x];
      sum_h += dot(v, load_table_h((h + L - 1u - j) * HD, x));
      sum_w += dot(v, load_table_w((i + L - 1u - j) * HD, x));
    }
    rel_h[e] = sum_h;
    rel_w[e] = sum_w;
  }
  for (var e = t; e < queries * L; e += 64u) {
    let j = e % L;
    var sum = 0.0;
    for (var x = 0u; x < HD4; x++) {
      sum += dot(q_row[(first + e / L) * HD4 + x], load_table_d((d + L - 1u - j) * HD, x));
    }
    rel_d[e] = sum;
  }
  workgroupBarrier();
  //#else
  let first = 0u;
  let query0 = group.x * QT;
  let query_token = batch * p.queries + query0;
  let queries = min(QT, p.queries - query0);
  let keys = p.keys;
  for (var e = t; e < QT * HD4; e += 64u) {
    if (e / HD4 < queries) { q_row[e] = load_q((query_token + e / HD4) * p.q_stride + p.q_offset + head, e % HD4); }
  }
  workgroupBarrier();
  //#end

  // The invocation's part of the output: vec4 `column` of queries `row`, `row + GROUPS`, …
  let column = t % HD4;
  let row = t / HD4;
  //#if PADDED
  for (var j = t; j < L; j += 64u) {
    let real_h = column_h(j, 0u, r0);
    let pad_h = column_h(j, r0, L);
    let real_w = column_w(j, 0u, r1);
    let pad_w = column_w(j, r1, L);
    let full_w = logsumexp2(real_w, pad_w);
    mass[j] = select(logsumexp2(real_h, pad_h) + full_w, logsumexp2(pad_h + full_w, real_h + pad_w), j < r2);
  }
  workgroupBarrier();
  if (t < queries) {
    var m = LOWEST;
    for (var j = 0u; j < L; j++) { m = max(m, rel_d[t * L + j] + mass[j]); }
    var sum = 0.0;
    var total = 0.0;
    for (var j = 0u; j < L; j++) {
      sum += exp(rel_d[t * L + j] + mass[j] - m);
      total += rel_d[t * L + j] + mass[j];
    }
    var qk = 0.0;
    for (var x = 0u; x < HD4; x++) { qk += dot(q_row[(first + t) * HD4 + x], load_bias(p.k_offset + head, x)); }
    running_max[t] = p.scale * qk + m + log(sum);
    running_sum[t] = poisoned(poisoned(1.0, total, MOST_PADDING), running_max[t], MOST_PADDING);
  }
  let start_value = load_bias(p.v_offset + head, column);
  //#else
  if (t < QT) {
    running_max[t] = LOWEST;
    running_sum[t] = 0.0;
  }
  let start_value = vec4f(0.0);
  //#end
  //#unroll e QI
  var acc_${e} = start_value;
  //#end
  workgroupBarrier();

  for (var start = 0u; start < keys; start += KT) {
    for (var j = t; j < KT; j += 64u) {
      let key = start + j;
      if (key < keys) {
        //#if WINDOW
        let kd = key / (r1 * r2);
        let kh = (key / r2) % r1;
        let kw = key % r2;
        let token = window_token + (kd * p.grid_h + kh) * p.grid_w + kw;
        let rel = rel_h[kd * L + kw] + rel_w[kh * L + kw];
        //#else
        let token = batch * p.keys + key;
        //#end
        let base = token * p.k_stride + p.k_offset + head;
        //#unroll i QT
        var s_${i} = 0.0;
        //#end
        for (var x = 0u; x < HD4; x++) {
          let v = load_k(base, x);
          //#unroll i QT
          s_${i} += dot(q_row[(first + ${i}u) * HD4 + x], v);
          //#end
        }
        //#unroll i QT
        //#if WINDOW
        scores[${i}u * KT + j] = p.scale * s_${i} + (rel_d[${i}u * L + kw] + rel);
        //#else
        scores[${i}u * KT + j] = p.scale * s_${i};
        //#end
        //#end
      } else {
        //#unroll i QT
        scores[${i}u * KT + j] = LOWEST;
        //#end
      }
    }
    workgroupBarrier();

    let query = t / PARTS;
    var m = LOWEST;
    var total = 0.0;
    for (var j = t % PARTS; j < KT; j += PARTS) {
      m = max(m, scores[query * KT + j]);
      if (start + j < keys) { total += scores[query * KT + j]; }
    }
    part_max[t] = m;
    workgroupBarrier();
    m = running_max[query];
    for (var j = 0u; j < PARTS; j++) { m = max(m, part_max[query * PARTS + j]); }
    var sum = 0.0;
    for (var j = t % PARTS; j < KT; j += PARTS) {
      let e = exp(scores[query * KT + j] - m);
      scores[query * KT + j] = e;
      sum += e;
    }
    part_sum[t] = poisoned(sum, total, MOST_SCORE);
    workgroupBarrier();
    if (t % PARTS == 0u) {
      let factor = exp(running_max[query] - m);
      sum = running_sum[query] * factor;
      for (var j = 0u; j < PARTS; j++) { sum += part_sum[t + j]; }
      running_sum[query] = sum;
      running_max[query] = m;
      rescale[query] = factor;
    }
    workgroupBarrier();

    if (row < GROUPS) {
      //#unroll e QI
      let query_${e} = min(row + ${e}u * GROUPS, QT - 1u);
      acc_${e} *= rescale[query_${e}];
      //#end
      //#if WINDOW
      var kd = start / (r1 * r2);
      var kh = (start / r2) % r1;
      var kw = start % r2;
      //#end
      let stop = min(KT, keys - start);
      for (var j = 0u; j < stop; j++) {
        //#if WINDOW
        let token = window_token + (kd * p.grid_h + kh) * p.grid_w + kw;
        kw++;
        if (kw == r2) {
          kw = 0u;
          kh++;
          if (kh == r1) { kh = 0u; kd++; }
        }
        //#else
        let token = batch * p.keys + start + j;
        //#end
        let v = load_v(token * p.v_stride + p.v_offset + head, column);
        //#unroll e QI
        acc_${e} += scores[query_${e} * KT + j] * v;
        //#end
      }
    }
    workgroupBarrier();
  }

  if (row < GROUPS) {
    //#unroll e QI
    {
      let query = row + ${e}u * GROUPS;
      if (query < queries) {
        let v = acc_${e} / running_sum[query];
        let base = (query_token + query) * p.o_stride + head;
        //#if SCALAR
        for (var j = 0u; j < 4u && 4u * column + j < HD; j++) { out[base + 4u * column + j] = v[j]; }
        //#else
        out[base / 4u + column] = v;
        //#end
      }
    }
    //#end
  }
}
