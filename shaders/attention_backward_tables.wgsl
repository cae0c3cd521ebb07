// Encoder attention, backward, last pass, from the records of all rows and heads:
//   AXIS 0, 1, 2   the gradient of rel_pos_d, _h, _w (2L−1, HD): entry r gathers dT[i, j]·q_i wherever the table read r
//   BIAS           what padded tokens give to the qkv bias (3·C)
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> record: array<f32>;
//#if !BIAS
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> qkv_bias: array<f32>;
//#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let rows = p.grid_d * p.grid_h * p.windows_w;
  let width = p.heads * HD;
  //#if BIAS
  let e = group.x * 64u + t;
  if (e >= 3u * width) { return; }
  let head = (e % width) / HD;
  var sum = 0.0;
  for (var n = 0u; n < p.batch * rows; n++) {
    sum += record[(n * p.heads + head) * RECORD + AT_BIAS + (e / width) * HD + e % HD];
  }
  y[e] = sum;
  //#else
  let r = group.x;
  let c = min(group.y * 16u + t % 16u, HD - 1u);
  var sum = 0.0;
  for (var n = t / 16u; n < p.batch * rows; n += 4u) {
    let x = n % rows;
    let row = row_of(x, n / rows);
    var run = 0.0;
    for (var h = 0u; h < p.heads; h++) {
      let at = (n * p.heads + h) * RECORD + AT_DTABLES + $AXISu * L * L;
      for (var i = 0u; i < L; i++) {
        // j such that the table was read at r; below zero wraps round and is out of range too
        //#if AXIS_D
        let j = row.d + L - 1u - r;
        //#end
        //#if AXIS_H
        let j = row.h + L - 1u - r;
        //#end
        //#if AXIS_W
        let j = i + L - 1u - r;
        //#end
        if (j >= L) { continue; }
        var q = qkv_bias[h * HD + c];
        if (i < row.r2) { q = qkv[(row.token + i) * 3u * width + h * HD + c]; }
        run += record[at + i * L + j] * q;
      }
    }
    sum += run;
  }
  parts[t] = sum;
  workgroupBarrier();
  if (t < 16u && group.y * 16u + t < HD) {
    y[r * HD + c] = (parts[t] + parts[t + 16u]) + (parts[t + 32u] + parts[t + 48u]);
  }
  //#end
}
