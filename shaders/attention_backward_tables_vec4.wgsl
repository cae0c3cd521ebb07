// attention_backward_tables.wgsl's gradient of a relative position table, for CPU adapters: an invocation takes a vec4 of the head and
// four neighbouring entries r of the table, so that what it loads of a query serves four sums of four.
//#include attention_backward_common.wgsl
@group(0) @binding(1) var<storage, read> record: array<f32>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(3) var<storage, read> qkv_bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;

const HD4 = HD / 4u;
var<workgroup> parts: array<vec4f, 256>; // [entry][part of the rows][vec4 of the head]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let rows = p.grid_d * p.grid_h * p.windows_w;
  let width = p.heads * HD4;
  let r = group.x * 4u;
  let c = min(group.y * 8u + t % 8u, HD4 - 1u);
  //#unroll e 4
  var sum_${e} = vec4f(0.0);
  //#end
  for (var n = t / 8u; n < p.batch * rows; n += 8u) {
    let row = row_of(n % rows, n / rows);
    //#unroll e 4
    var run_${e} = vec4f(0.0);
    //#end
    for (var h = 0u; h < p.heads; h++) {
      let at = (n * p.heads + h) * RECORD + AT_DTABLES + $AXISu * L * L;
      for (var i = 0u; i < p.edge; i++) {
        // The entries r … r + 3 were read for j … j − 3; below zero wraps round and is out of range too.
        //#if AXIS_D
        let j = row.d + L - 1u - r;
        //#end
        //#if AXIS_H
        let j = row.h + L - 1u - r;
        //#end
        //#if AXIS_W
        let j = i + L - 1u - r;
        //#end
        if (j >= L + 3u) { continue; }
        var q = qkv_bias[h * HD4 + c];
        if (i < row.r2) { q = qkv[(row.token + i) * 3u * width + h * HD4 + c]; }
        //#unroll e 4
        if (j - ${e}u < L) { run_${e} += record[at + i * L + (j - ${e}u)] * q; }
        //#end
      }
    }
    //#unroll e 4
    sum_${e} += run_${e};
    //#end
  }
  //#unroll e 4
  parts[${e}u * 64u + t] = sum_${e};
  //#end
  workgroupBarrier();
  if (t < 32u && group.y * 8u + t % 8u < HD4 && r + t / 8u < 2u * L - 1u) {
    let first = t / 8u * 64u + t % 8u;
    var all = vec4f(0.0);
    for (var n = 0u; n < 8u; n++) { all += parts[first + n * 8u]; }
    y[(r + t / 8u) * HD4 + c] = all;
  }
}
