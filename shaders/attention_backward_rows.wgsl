// Encoder attention, backward, first pass: for the queries of one row, everything that sums over keys. Recomputes
// the weights from the row's log-sum-exp; scores never reach memory. Writes the row's record.
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> qkv_bias: array<f32>;
@group(0) @binding(3) var<storage, read> table_d: array<f32>;
@group(0) @binding(4) var<storage, read> table_h: array<f32>;
@group(0) @binding(5) var<storage, read> table_w: array<f32>;
@group(0) @binding(6) var<storage, read> attended: array<f32>; // the forward result
@group(0) @binding(7) var<storage, read> dout: array<f32>;
@group(0) @binding(8) var<storage, read_write> record: array<f32>;

const KT = 32u;
const LOWEST = -1.0e30; // stands for −∞, see attention.wgsl
const PARTS = 64u / L;  // invocations that share a query's log-sum-exp

var<workgroup> q_row: array<f32, $L_HD>;  // real positions, then the q bias
var<workgroup> do_row: array<f32, $L_HD>;
var<workgroup> ds: array<f32, $L_KT>;     // [query][key of the tile]
var<workgroup> column: array<f32, 32>;    // Σ over queries of ds
var<workgroup> key_token: array<u32, 32>;
var<workgroup> key_place: array<vec3u, 32>;
var<workgroup> d_td: array<f32, $L_L>;
var<workgroup> d_th: array<f32, $L_L>;
var<workgroup> d_tw: array<f32, $L_L>;
var<workgroup> part_max: array<f32, 64>;
var<workgroup> part_sum: array<f32, 64>;
var<workgroup> lse: array<f32, L>;
var<workgroup> dots: array<f32, L>;
//#if PADDED
var<workgroup> mass: array<f32, L>;
var<workgroup> pad_h: array<f32, L>;
var<workgroup> full_h: array<f32, L>;
var<workgroup> pad_w: array<f32, L>;
var<workgroup> full_w: array<f32, L>;
var<workgroup> pad_lse: array<f32, L>;    // logsumexp over w' of T_d + M
var<workgroup> pad_weight: array<f32, L>; // the virtual key's weight
var<workgroup> pad_ds: array<f32, L>;
var<workgroup> d_mass: array<f32, L>;
//#end

fn logsumexp2(a: f32, b: f32) -> f32 {
  let m = max(a, b);
  return m + log(exp(a - m) + exp(b - m));
}
// logsumexp over i in [start, stop) of the L×L table at `at`, column j.
fn column_lse(at: u32, j: u32, start: u32, stop: u32) -> f32 {
  var m = LOWEST;
  for (var i = start; i < stop; i++) { m = max(m, record[at + i * L + j]); }
  var sum = 0.0;
  for (var i = start; i < stop; i++) { sum += exp(record[at + i * L + j] - m); }
  return select(LOWEST, m + log(sum), start < stop);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let width = p.heads * HD;
  let head = group.y * HD;
  let row = row_of(group.x, group.z);
  let base = record_at(group.x, group.y, group.z);
  let at_td = base + AT_TABLES;
  let at_th = at_td + L * L;
  let at_tw = at_th + L * L;
  let keys = row.r0 * row.r1 * row.r2;

  for (var e = t; e < L * HD; e += 64u) {
    let i = e / HD;
    let c = e % HD;
    let real = i < row.r2;
    q_row[e] = select(qkv_bias[head + c], qkv[(row.token + min(i, row.r2 - 1u)) * 3u * width + head + c], real);
    do_row[e] = select(0.0, dout[(row.token + min(i, row.r2 - 1u)) * width + head + c], real);
    record[base + e] = 0.0;
  }
  workgroupBarrier();
  for (var e = t; e < L * L; e += 64u) {
    let i = e / L;
    let j = e % L;
    var sum = vec3f(0.0);
    for (var c = 0u; c < HD; c++) {
      let v = q_row[i * HD + c];
      sum.x += v * table_d[(row.d + L - 1u - j) * HD + c];
      sum.y += v * table_h[(row.h + L - 1u - j) * HD + c];
      sum.z += v * table_w[(i + L - 1u - j) * HD + c];
    }
    record[at_td + e] = sum.x;
    record[at_th + e] = sum.y;
    record[at_tw + e] = sum.z;
    d_td[e] = 0.0;
    d_th[e] = 0.0;
    d_tw[e] = 0.0;
  }
  storageBarrier();
  workgroupBarrier();

  // Log-sum-exp of every query's scores, and dout·out.
  let query = t % L;
  var m = LOWEST;
  var sum = 0.0;
  if (t / L < PARTS && query < row.r2) {
    for (var key = t / L; key < keys; key += PARTS) {
      let kd = key / (row.r1 * row.r2);
      let kh = (key / row.r2) % row.r1;
      let kw = key % row.r2;
      let at = (row.window_token + (kd * p.grid_h + kh) * p.grid_w + kw) * 3u * width + width + head;
      var s = 0.0;
      for (var c = 0u; c < HD; c++) { s += q_row[query * HD + c] * qkv[at + c]; }
      s = p.scale * s + record[at_td + query * L + kw] + record[at_th + kd * L + kw] + record[at_tw + kh * L + kw];
      let higher = max(m, s);
      sum = sum * exp(m - higher) + exp(s - higher);
      m = higher;
    }
  }
  part_max[t] = m;
  part_sum[t] = sum;
  //#if PADDED
  for (var j = t; j < L; j += 64u) {
    let real_h = column_lse(at_th, j, 0u, row.r0);
    let real_w = column_lse(at_tw, j, 0u, row.r1);
    pad_h[j] = column_lse(at_th, j, row.r0, L);
    pad_w[j] = column_lse(at_tw, j, row.r1, L);
    full_h[j] = logsumexp2(real_h, pad_h[j]);
    full_w[j] = logsumexp2(real_w, pad_w[j]);
    mass[j] = select(full_h[j] + full_w[j], logsumexp2(pad_h[j] + full_w[j], real_h + pad_w[j]), j < row.r2);
  }
  //#end
  workgroupBarrier();
  if (t < row.r2) {
    var top = LOWEST;
    for (var part = 0u; part < PARTS; part++) { top = max(top, part_max[part * L + t]); }
    var all = 0.0;
    for (var part = 0u; part < PARTS; part++) { all += part_sum[part * L + t] * exp(part_max[part * L + t] - top); }
    var total = top + log(all);
    var product = 0.0;
    for (var c = 0u; c < HD; c++) { product += do_row[t * HD + c] * attended[(row.token + t) * width + head + c]; }
    //#if PADDED
    var pm = LOWEST;
    for (var j = 0u; j < L; j++) { pm = max(pm, record[at_td + t * L + j] + mass[j]); }
    var ps = 0.0;
    for (var j = 0u; j < L; j++) { ps += exp(record[at_td + t * L + j] + mass[j] - pm); }
    pad_lse[t] = pm + log(ps);
    var qk = 0.0;
    var dp = 0.0;
    for (var c = 0u; c < HD; c++) {
      qk += q_row[t * HD + c] * qkv_bias[width + head + c];
      dp += do_row[t * HD + c] * qkv_bias[2u * width + head + c];
    }
    let s = p.scale * qk + pad_lse[t];
    total = logsumexp2(total, s);
    pad_weight[t] = exp(s - total);
    pad_ds[t] = pad_weight[t] * (dp - product);
    //#end
    lse[t] = total;
    dots[t] = product;
    record[base + AT_LSE + t] = total;
    record[base + AT_DOT + t] = product;
  }
  workgroupBarrier();

  for (var start = 0u; start < keys; start += KT) {
    let j = t % KT;
    let key = start + j;
    let kd = key / (row.r1 * row.r2);
    let kh = (key / row.r2) % row.r1;
    let kw = key % row.r2;
    let token = row.window_token + (kd * p.grid_h + kh) * p.grid_w + kw;
    if (t < KT) {
      key_token[t] = token;
      key_place[t] = vec3u(kd, kh, kw);
    }
    for (var i = t / KT; i < row.r2; i += 2u) {
      var value = 0.0;
      if (key < keys) {
        let at = token * 3u * width + width + head;
        var s = 0.0;
        var dp = 0.0;
        for (var c = 0u; c < HD; c++) {
          s += q_row[i * HD + c] * qkv[at + c];
          dp += do_row[i * HD + c] * qkv[at + width + c];
        }
        s = p.scale * s + record[at_td + i * L + kw] + record[at_th + kd * L + kw] + record[at_tw + kh * L + kw];
        value = exp(s - lse[i]) * (dp - dots[i]);
      }
      ds[i * KT + j] = value;
    }
    workgroupBarrier();
    if (t < KT) {
      var all = 0.0;
      for (var i = 0u; i < row.r2; i++) { all += ds[i * KT + t]; }
      column[t] = all;
    }
    workgroupBarrier();
    let stop = min(KT, keys - start);
    for (var e = t; e < row.r2 * HD; e += 64u) {
      let i = e / HD;
      var all = 0.0;
      for (var n = 0u; n < stop; n++) { all += ds[i * KT + n] * qkv[key_token[n] * 3u * width + width + head + e % HD]; }
      record[base + e] += p.scale * all;
    }
    for (var e = t; e < L * L; e += 64u) {
      let i = e / L;
      let w = e % L;
      var all = vec3f(0.0);
      for (var n = 0u; n < stop; n++) {
        let place = key_place[n];
        if (place.z == w) {
          if (i < row.r2) { all.x += ds[i * KT + n]; }
          if (place.x == i) { all.y += column[n]; }
          if (place.y == i) { all.z += column[n]; }
        }
      }
      d_td[e] += all.x;
      d_th[e] += all.y;
      d_tw[e] += all.z;
    }
    workgroupBarrier();
  }

  //#if PADDED
  for (var w = t; w < L; w += 64u) {
    var all = 0.0;
    for (var i = 0u; i < row.r2; i++) {
      let share = pad_ds[i] * exp(record[at_td + i * L + w] + mass[w] - pad_lse[i]);
      d_td[i * L + w] += share;
      all += share;
    }
    d_mass[w] = all;
  }
  workgroupBarrier();
  for (var e = t; e < L * L; e += 64u) {
    let i = e / L;
    let w = e % L;
    // M[w'] sums over pairs (d', h') of which not both are real (all pairs where w' is padded itself).
    if (mass[w] > 0.5 * LOWEST) {
      let with_h = select(full_w[w], pad_w[w], w < row.r2 && i < row.r0);
      let with_w = select(full_h[w], pad_h[w], w < row.r2 && i < row.r1);
      d_th[e] += d_mass[w] * exp(record[at_th + e] + with_h - mass[w]);
      d_tw[e] += d_mass[w] * exp(record[at_tw + e] + with_w - mass[w]);
    }
  }
  workgroupBarrier();
  //#end

  // From the tables to the queries that made them: real ones, and the bias at padded positions of the row.
  for (var e = t; e < L * HD; e += 64u) {
    let i = e / HD;
    let c = e % HD;
    var all = record[base + e];
    //#if PADDED
    if (i < row.r2) { all += p.scale * pad_ds[i] * qkv_bias[width + head + c]; }
    //#end
    for (var j = 0u; j < L; j++) {
      if (i < row.r2) { all += d_td[i * L + j] * table_d[(row.d + L - 1u - j) * HD + c]; }
      all += d_th[i * L + j] * table_h[(row.h + L - 1u - j) * HD + c];
      all += d_tw[i * L + j] * table_w[(i + L - 1u - j) * HD + c];
    }
    record[base + e] = all;
  }
  for (var e = t; e < L * L; e += 64u) {
    record[base + AT_DTABLES + e] = d_td[e];
    record[base + AT_DTABLES + L * L + e] = d_th[e];
    record[base + AT_DTABLES + 2u * L * L + e] = d_tw[e];
  }
  storageBarrier();
  workgroupBarrier();
  for (var c = t; c < HD; c += 64u) {
    var bq = 0.0;
    for (var i = row.r2; i < L; i++) { bq += record[base + i * HD + c]; }
    var bk = 0.0;
    var bv = 0.0;
    //#if PADDED
    for (var i = 0u; i < row.r2; i++) {
      bk += p.scale * pad_ds[i] * q_row[i * HD + c];
      bv += pad_weight[i] * do_row[i * HD + c];
    }
    //#end
    record[base + AT_BIAS + c] = bq;
    record[base + AT_BIAS + HD + c] = bk;
    record[base + AT_BIAS + 2u * HD + c] = bv;
  }
}
