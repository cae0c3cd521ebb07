// Encoder attention, backward, first pass, subgroup variant: what attention_backward_rows.wgsl computes, with one
// subgroup per row and a lane per query as in attention_subgroup.wgsl. Writes the row's record.
enable subgroups;
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> qkv_bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> table_d: array<vec4f>;
@group(0) @binding(4) var<storage, read> table_h: array<vec4f>;
@group(0) @binding(5) var<storage, read> table_w: array<vec4f>;
@group(0) @binding(6) var<storage, read> attended: array<vec4f>; // the forward result
@group(0) @binding(7) var<storage, read> dout: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> record: array<f32>;
//#include attention_row.wgsl

var<workgroup> d_td: array<f32, $L_L>;
var<workgroup> d_th: array<f32, $L_L>;
var<workgroup> d_tw: array<f32, $L_L>;
//#if KEPT
// Scores of the first loop for the second, where the window's fit: [key][lane].
var<workgroup> scores: array<f32, $KEPT>;
//#end
//#if PADDED
var<workgroup> do_row: array<vec4f, $L_HD4>;
var<workgroup> pad_lse: array<f32, L>;    // logsumexp over w' of T_d + M
var<workgroup> pad_weight: array<f32, L>; // the virtual key's weight
var<workgroup> pad_ds: array<f32, L>;
var<workgroup> d_mass: array<f32, L>;
//#end

fn store4(at: u32, v: vec4f) {
  record[at] = v.x;
  record[at + 1u] = v.y;
  record[at + 2u] = v.z;
  record[at + 3u] = v.w;
}

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let row = row_of(group.x, group.z);
  let base = record_at(group.x, group.y, group.z);
  fill_tables(row, 1u, row.token * 3u * c4 + head, 3u * c4, head, lane);
  for (var e = lane; e < L * L; e += $SGu) {
    record[base + AT_TABLES + e] = rel_d[e];
    record[base + AT_TABLES + L * L + e] = rel_h[e];
    record[base + AT_TABLES + 2u * L * L + e] = rel_w[e];
    d_td[e] = 0.0;
    d_th[e] = 0.0;
    d_tw[e] = 0.0;
  }

  let query = min(lane, row.r2 - 1u);
  let own_at = (row.token + query) * c4 + head;
  //#unroll x HD4
  let q_${x} = q_row[query * HD4 + ${x}u];
  let do_${x} = dout[own_at + ${x}u];
  var dq_${x} = vec4f(0.0);
  //#end
  var product = 0.0;
  //#if PADDED
  var qk = 0.0;
  var pad_dp = 0.0;
  //#end
  // What happens once is in loops that stay loops: unrolled it would be most of the code.
  for (var x = 0u; x < p.head_vec4; x++) {
    let d = dout[own_at + x];
    product = dot4(d, attended[own_at + x], product);
    //#if PADDED
    qk = dot4(q_row[query * HD4 + x], qkv_bias[c4 + head + x], qk);
    pad_dp = dot4(d, qkv_bias[2u * c4 + head + x], pad_dp);
    //#end
  }
  //#unroll j KEYS
  let d_${j} = rel_d[query * L + ${j}u];
  //#end

  // Log-sum-exp of the query's scores.
  var top = LOWEST;
  var sum = 0.0;
  //#if PADDED
  fill_mass(0u, row, lane);
  let pad_mass_own = pad_mass(0u, query);
  let pad_score = fma(p.scale, qk, pad_mass_own);
  top = pad_score;
  sum = 1.0;
  //#end
  for (var kd = 0u; kd < row.r0; kd++) {
    //#unroll j KEYS
    let dh_${j} = d_${j} + rel_h[kd * L + ${j}u];
    //#end
    for (var kh = 0u; kh < row.r1; kh++) {
      let k_at = (row.window_token + (kd * p.grid_h + kh) * p.grid_w + query) * 3u * c4 + c4 + head;
      //#unroll j KEYS
      var s_${j} = 0.0;
      //#end
      //#unroll x HD4
      {
        let k = qkv[k_at + ${x}u];
        //#unroll j KEYS
        s_${j} = dot4(q_${x}, $BROADCAST(k, ${j}u), s_${j});
        //#end
      }
      //#end
      var higher = top;
      //#unroll j KEYS
      s_${j} = fma(p.scale, s_${j}, dh_${j} + rel_w[kh * L + ${j}u]);
      //#if RAGGED
      s_${j} = select(LOWEST, s_${j}, ${j}u < row.r2);
      //#end
      //#if KEPT
      scores[((kd * row.r1 + kh) * $KEYSu + ${j}u) * $SGu + lane] = s_${j};
      //#end
      higher = max(higher, s_${j});
      //#end
      sum *= exp(top - higher);
      top = higher;
      //#unroll j KEYS
      sum += exp(s_${j} - top);
      //#end
    }
  }
  let lse = top + log(sum);
  if (lane < row.r2) {
    record[base + AT_LSE + lane] = lse;
    record[base + AT_DOT + lane] = product;
  }
  //#if PADDED
  if (lane < row.r2) {
    pad_lse[lane] = pad_mass_own;
    pad_weight[lane] = exp(pad_score - lse);
    pad_ds[lane] = exp(pad_score - lse) * (pad_dp - product);
    //#unroll x HD4
    do_row[lane * HD4 + ${x}u] = do_${x};
    //#end
  }
  //#end
  workgroupBarrier();

  // ds of every pair, and what sums it. Lanes beyond the row repeat its last query and count for nothing.
  let counts = select(0.0, 1.0, lane < row.r2);
  //#unroll j KEYS
  var td_${j} = 0.0;
  //#end
  for (var kd = 0u; kd < row.r0; kd++) {
    //#unroll j KEYS
    //#if !KEPT
    let dh_${j} = d_${j} + rel_h[kd * L + ${j}u];
    //#end
    var th_${j} = 0.0;
    //#end
    for (var kh = 0u; kh < row.r1; kh++) {
      let k_at = (row.window_token + (kd * p.grid_h + kh) * p.grid_w + query) * 3u * c4 + c4 + head;
      //#unroll j KEYS
      //#if KEPT
      let s_${j} = scores[((kd * row.r1 + kh) * $KEYSu + ${j}u) * $SGu + lane];
      //#else
      var s_${j} = 0.0;
      //#end
      var dp_${j} = -product;
      //#end
      //#unroll x HD4
      let k_${x} = qkv[k_at + ${x}u];
      {
        let v = qkv[k_at + c4 + ${x}u];
        //#unroll j KEYS
        //#if !KEPT
        s_${j} = dot4(q_${x}, $BROADCAST(k_${x}, ${j}u), s_${j});
        //#end
        dp_${j} = dot4(do_${x}, $BROADCAST(v, ${j}u), dp_${j});
        //#end
      }
      //#end
      var row_ds = 0.0;
      //#unroll j KEYS
      //#if KEPT
      var ds_${j} = counts * exp(s_${j} - lse) * dp_${j};
      //#else
      var ds_${j} = counts * exp(fma(p.scale, s_${j}, dh_${j} + rel_w[kh * L + ${j}u]) - lse) * dp_${j};
      //#end
      //#if RAGGED
      ds_${j} = select(0.0, ds_${j}, ${j}u < row.r2);
      //#end
      td_${j} += ds_${j};
      th_${j} += ds_${j};
      row_ds = select(row_ds, subgroupAdd(ds_${j}), lane == ${j}u);
      //#end
      if (lane < $KEYSu) { d_tw[kh * L + lane] += row_ds; }
      //#unroll x HD4
      //#unroll j KEYS
      dq_${x} = fma(vec4f(ds_${j}), $BROADCAST(k_${x}, ${j}u), dq_${x});
      //#end
      //#end
    }
    var row_th = 0.0;
    //#unroll j KEYS
    row_th = select(row_th, subgroupAdd(th_${j}), lane == ${j}u);
    //#end
    if (lane < $KEYSu) { d_th[kd * L + lane] = row_th; }
  }
  if (lane < row.r2) {
    //#unroll j KEYS
    d_td[lane * L + ${j}u] = td_${j};
    //#end
  }
  workgroupBarrier();

  //#if PADDED
  for (var w = lane; w < L; w += $SGu) {
    var all = 0.0;
    for (var i = 0u; i < row.r2; i++) {
      let share = pad_ds[i] * exp(rel_d[i * L + w] + mass[w] - pad_lse[i]);
      d_td[i * L + w] += share;
      all += share;
    }
    d_mass[w] = all;
  }
  workgroupBarrier();
  for (var e = lane; e < L * L; e += $SGu) {
    let i = e / L;
    let w = e % L;
    // M[w'] sums over pairs (d', h') of which not both are real (all pairs where w' is padded itself).
    if (mass[w] > 0.5 * LOWEST) {
      let with_h = select(full_w[w], pad_w[w], w < row.r2 && i < row.r0);
      let with_w = select(full_h[w], pad_h[w], w < row.r2 && i < row.r1);
      d_th[e] += d_mass[w] * exp(rel_h[e] + with_h - mass[w]);
      d_tw[e] += d_mass[w] * exp(rel_w[e] + with_w - mass[w]);
    }
  }
  workgroupBarrier();
  //#end

  // From the tables to the queries that made them: real ones, and the bias at padded positions of the row.
  if (lane < row.r2) {
    //#unroll x HD4
    store4(base + lane * HD + ${x}u * 4u, p.scale * dq_${x});
    //#end
  }
  storageBarrier();
  for (var e = lane; e < L * HD4; e += $SGu) {
    let i = e / HD4;
    let x = e % HD4;
    let at = base + e * 4u;
    let real = i < row.r2;
    var g = vec4f(0.0);
    if (real) { g = vec4f(record[at], record[at + 1u], record[at + 2u], record[at + 3u]); }
    //#if PADDED
    if (real) { g += p.scale * pad_ds[i] * qkv_bias[c4 + head + x]; }
    //#end
    for (var j = 0u; j < p.edge; j++) {
      let by_d = select(0.0, d_td[i * L + j], real);
      let by_h = d_th[i * L + j];
      let by_w = d_tw[i * L + j];
      g += by_d * table_d[(row.d + L - 1u - j) * HD4 + x];
      g += by_h * table_h[(row.h + L - 1u - j) * HD4 + x];
      g += by_w * table_w[(i + L - 1u - j) * HD4 + x];
    }
    store4(at, g);
  }
  for (var e = lane; e < L * L; e += $SGu) {
    record[base + AT_DTABLES + e] = d_td[e];
    record[base + AT_DTABLES + L * L + e] = d_th[e];
    record[base + AT_DTABLES + 2u * L * L + e] = d_tw[e];
  }
  storageBarrier();
  workgroupBarrier();
  for (var c = lane; c < HD; c += $SGu) {
    var bq = 0.0;
    for (var i = row.r2; i < L; i++) { bq += record[base + i * HD + c]; }
    var bk = 0.0;
    var bv = 0.0;
    //#if PADDED
    for (var i = 0u; i < row.r2; i++) {
      bk += p.scale * pad_ds[i] * q_row[i * HD4 + c / 4u][c % 4u];
      bv += pad_weight[i] * do_row[i * HD4 + c / 4u][c % 4u];
    }
    //#end
    record[base + AT_BIAS + c] = bq;
    record[base + AT_BIAS + HD + c] = bk;
    record[base + AT_BIAS + 2u * HD + c] = bv;
  }
}
