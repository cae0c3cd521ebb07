// What the subgroup variants of the encoder's attention share: one subgroup takes one row (d, h) of one window and one
// head; notation and the closed form of the padding are explained in attention.wgsl. No lane waits for another but
// through subgroup operations, and a handful of barriers around the row's tables.
const HD4 = HD / 4u;
const LOWEST = -1.0e30; // stands for −∞, see attention.wgsl

var<workgroup> q_row: array<vec4f, $L_HD4>; // real positions of the row, then the q bias
var<workgroup> rel_d: array<f32, $L_L>;     // T_d[w][w'], T_h[d'][w'], T_w[h'][w']
var<workgroup> rel_h: array<f32, $L_L>;
var<workgroup> rel_w: array<f32, $L_L>;

// Fills q_row and, from it, the three tables. `at` is the first token's q, in vec4; `stride` what a token takes.
fn fill_tables(row: Row, at: u32, stride: u32, bias_at: u32, lane: u32) {
  for (var e = lane; e < L * HD4; e += $SGu) {
    let i = e / HD4;
    q_row[e] = qkv[at + min(i, row.r2 - 1u) * stride + e % HD4];
    if (i >= row.r2) { q_row[e] = qkv_bias[bias_at + e % HD4]; }
  }
  workgroupBarrier();
  for (var j = lane; j < L; j += $SGu) {
    let at_d = (row.d + L - 1u - j) * HD4;
    let at_h = (row.h + L - 1u - j) * HD4;
    //#unroll x HD4
    let d_${x} = table_d[at_d + ${x}u];
    let h_${x} = table_h[at_h + ${x}u];
    //#end
    for (var i = 0u; i < L; i++) {
      let at_w = (i + L - 1u - j) * HD4;
      var sum = vec3f(0.0);
      //#unroll x HD4
      {
        let q = q_row[i * HD4 + ${x}u];
        sum += vec3f(dot(q, d_${x}), dot(q, h_${x}), dot(q, table_w[at_w + ${x}u]));
      }
      //#end
      rel_d[i * L + j] = sum.x;
      rel_h[i * L + j] = sum.y;
      rel_w[i * L + j] = sum.z;
    }
  }
  workgroupBarrier();
}

//#if PADDED
var<workgroup> mass: array<f32, L>; // M[w']
var<workgroup> pad_h: array<f32, L>;
var<workgroup> full_h: array<f32, L>;
var<workgroup> pad_w: array<f32, L>;
var<workgroup> full_w: array<f32, L>;

//#include attention_padding.wgsl
fn fill_mass(row: Row, lane: u32) {
  for (var j = lane; j < L; j += $SGu) {
    let real_h = column_h(j, 0u, row.r0);
    let real_w = column_w(j, 0u, row.r1);
    pad_h[j] = column_h(j, row.r0, L);
    pad_w[j] = column_w(j, row.r1, L);
    full_h[j] = logsumexp2(real_h, pad_h[j]);
    full_w[j] = logsumexp2(real_w, pad_w[j]);
    mass[j] = select(full_h[j] + full_w[j], logsumexp2(pad_h[j] + full_w[j], real_h + pad_w[j]), j < row.r2);
  }
  workgroupBarrier();
}
// logsumexp over w' of T_d[query] + M: what the padded keys' positions give to a query's virtual key.
fn pad_mass(query: u32) -> f32 {
  var m = LOWEST;
  for (var j = 0u; j < L; j++) { m = max(m, rel_d[query * L + j] + mass[j]); }
  var sum = 0.0;
  for (var j = 0u; j < L; j++) { sum += exp(rel_d[query * L + j] + mass[j] - m); }
  return m + log(sum);
}
//#end

fn dot4(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}
