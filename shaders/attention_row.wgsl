// What the subgroup variants of the encoder's attention share: one subgroup takes $ROWS rows (d, h), (d, h + 1), … of one
// window and one head; notation and the closed form of the padding are explained in attention.wgsl. No lane waits for
// another but through subgroup operations, and a handful of barriers around the rows' tables. `r` counts the rows.
const HD4 = HD / 4u;
//#include attention_products.wgsl
//#include finite.wgsl
const LOWEST = -1.0e30; // stands for −∞, see attention.wgsl

var<workgroup> q_row: array<vec4f, $ROWS_L_HD4>; // real positions of the row, then the q bias
var<workgroup> rel_d: array<f32, $ROWS_L_L>;     // T_d[w][w'], T_h[d'][w'], T_w[h'][w']
var<workgroup> rel_h: array<f32, $ROWS_L_L>;
var<workgroup> rel_w: array<f32, $ROWS_L_L>;

// Fills q_row and, from it, the three tables of the $ROWS rows from `row` on, of which `real` are in the window and the grid;
// those past them repeat the last. `at` is the first token's q, in vec4; `stride` what a token takes.
fn fill_tables(row: Row, real: u32, at: u32, stride: u32, bias_at: u32, lane: u32) {
  for (var e = lane; e < $ROWSu * L * HD4; e += $SGu) {
    let r = min(e / (L * HD4), real - 1u);
    let i = e / HD4 % L;
    q_row[e] = qkv[at + (r * p.grid_w + min(i, row.r2 - 1u)) * stride + e % HD4];
    if (i >= row.r2) { q_row[e] = qkv_bias[bias_at + e % HD4]; }
  }
  workgroupBarrier();
  // $PART of the head's vec4 at a time: all of them at once would be a long piece of code, which drivers take seconds for.
  for (var part = 0u; part < p.head_vec4; part += $PARTu) {
    for (var j = lane; j < L; j += $SGu) {
      let at_d = (row.d + L - 1u - j) * HD4 + part;
      let at_h = (row.h + L - 1u - j) * HD4 + part;
      //#unroll x PART
      let d_${x} = table_d[at_d + ${x}u];
      //#unroll r ROWS
      let h_${r}_${x} = table_h[at_h + min(${r}u, real - 1u) * HD4 + ${x}u];
      //#end
      //#end
      for (var i = 0u; i < p.edge; i++) {
        let at_w = (i + L - 1u - j) * HD4 + part;
        //#unroll x PART
        let w_${x} = table_w[at_w + ${x}u];
        //#end
        //#unroll r ROWS
        {
          let q_at = (${r}u * L + i) * HD4 + part;
          let e = (${r}u * L + i) * L + j;
          var sum = vec3f(rel_d[e], rel_h[e], rel_w[e]);
          if (part == 0u) { sum = vec3f(0.0); }
          //#unroll x PART
          {
            let q = q_row[q_at + ${x}u];
            sum += vec3f(dot(q, d_${x}), dot(q, h_${r}_${x}), dot(q, w_${x}));
          }
          //#end
          rel_d[e] = sum.x;
          rel_h[e] = sum.y;
          rel_w[e] = sum.z;
        }
        //#end
      }
    }
  }
  workgroupBarrier();
}

//#if PADDED
var<workgroup> mass: array<f32, $ROWS_L>; // M[w']
var<workgroup> pad_h: array<f32, $ROWS_L>;
var<workgroup> full_h: array<f32, $ROWS_L>;
var<workgroup> pad_w: array<f32, $ROWS_L>;
var<workgroup> full_w: array<f32, $ROWS_L>;

//#include attention_padding.wgsl
fn fill_mass(r: u32, row: Row, lane: u32) {
  let rel_at = r * L * L;
  for (var j = lane; j < L; j += $SGu) {
    let n = r * L + j;
    let real_h = column_h(rel_at + j, 0u, row.r0);
    let real_w = column_w(rel_at + j, 0u, row.r1);
    pad_h[n] = column_h(rel_at + j, row.r0, L);
    pad_w[n] = column_w(rel_at + j, row.r1, L);
    full_h[n] = logsumexp2(real_h, pad_h[n]);
    full_w[n] = logsumexp2(real_w, pad_w[n]);
    mass[n] = select(full_h[n] + full_w[n], logsumexp2(pad_h[n] + full_w[n], real_h + pad_w[n]), j < row.r2);
  }
  workgroupBarrier();
}
// logsumexp over w' of T_d[query] + M: what the padded keys' positions give to the virtual key of a query of row r.
fn pad_mass(r: u32, query: u32) -> f32 {
  let rel_at = (r * L + query) * L;
  var m = LOWEST;
  for (var j = 0u; j < p.edge; j++) { m = max(m, rel_d[rel_at + j] + mass[r * L + j]); }
  var sum = 0.0;
  var total = 0.0;
  for (var j = 0u; j < p.edge; j++) {
    sum += exp(rel_d[rel_at + j] + mass[r * L + j] - m);
    total += rel_d[rel_at + j] + mass[r * L + j];
  }
  return poisoned(m + log(sum), total, MOST_PADDING);
}
//#end
