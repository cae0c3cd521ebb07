// Encoder attention, backward, second pass: for the keys of one row, everything that sums over the window's
// queries. Writes dqkv (tokens, 3·C) of the row's tokens; dq comes from the record.
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> record: array<f32>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<f32>;

var<workgroup> k_row: array<f32, $L_HD>;
var<workgroup> v_row: array<f32, $L_HD>;
var<workgroup> weight: array<f32, $L_L>; // [query of a row][key]
var<workgroup> ds: array<f32, $L_L>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let width = p.heads * HD;
  let head = group.y * HD;
  let row = row_of(group.x, group.z);
  let own = record_at(group.x, group.y, group.z);
  for (var e = t; e < row.r2 * HD; e += 64u) {
    let at = (row.token + e / HD) * 3u * width + head + e % HD;
    k_row[e] = qkv[at + width];
    v_row[e] = qkv[at + 2u * width];
    dqkv[at] = record[own + e];
    dqkv[at + width] = 0.0;
    dqkv[at + 2u * width] = 0.0;
  }
  workgroupBarrier();
  for (var qd = 0u; qd < row.r0; qd++) {
    for (var qh = 0u; qh < row.r1; qh++) {
      // Row (qd, qh) of the same window, as the first pass was dispatched.
      let x = group.x + ((qd * p.grid_h + qh) - (row.d * p.grid_h + row.h)) * p.windows_w;
      let other = record_at(x, group.y, group.z);
      let token = row.window_token + (qd * p.grid_h + qh) * p.grid_w;
      for (var e = t; e < row.r2 * row.r2; e += 64u) {
        let i = e / row.r2;
        let j = e % row.r2;
        var s = 0.0;
        var dp = 0.0;
        for (var c = 0u; c < HD; c++) {
          s += qkv[(token + i) * 3u * width + head + c] * k_row[j * HD + c];
          dp += dout[(token + i) * width + head + c] * v_row[j * HD + c];
        }
        let tables = other + AT_TABLES;
        s = p.scale * s + record[tables + i * L + j] + record[tables + L * L + row.d * L + j]
          + record[tables + 2u * L * L + row.h * L + j];
        let wt = exp(s - record[other + AT_LSE + i]);
        weight[e] = wt;
        ds[e] = p.scale * wt * (dp - record[other + AT_DOT + i]);
      }
      workgroupBarrier();
      for (var e = t; e < row.r2 * HD; e += 64u) {
        let j = e / HD;
        let c = e % HD;
        var dk = 0.0;
        var dv = 0.0;
        for (var i = 0u; i < row.r2; i++) {
          dk += ds[i * row.r2 + j] * qkv[(token + i) * 3u * width + head + c];
          dv += weight[i * row.r2 + j] * dout[(token + i) * width + head + c];
        }
        let at = (row.token + j) * 3u * width + head + c;
        dqkv[at + width] += dk;
        dqkv[at + 2u * width] += dv;
      }
      workgroupBarrier();
    }
  }
}
