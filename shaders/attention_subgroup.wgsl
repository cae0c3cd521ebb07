// An encoder block's attention, subgroup variant: one subgroup per row (d, h) of a window and head, a lane per query.
// Keys and values are loaded a lane per key and broadcast, so the softmax needs no exchange between lanes at all.
// On CPU adapters, where shared memory and barriers are dear, several times the speed of attention.wgsl; the row must
// not have more positions than the subgroup has lanes.
enable subgroups;
//#include attention_window.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;      // (B, D, H, W, 3·C)
@group(0) @binding(2) var<storage, read> qkv_bias: array<vec4f>; // (3·C)
@group(0) @binding(3) var<storage, read> table_d: array<vec4f>;  // (2L−1, head_dim)
@group(0) @binding(4) var<storage, read> table_h: array<vec4f>;
@group(0) @binding(5) var<storage, read> table_w: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (B, D, H, W, C)
//#include attention_row.wgsl

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let row = row_of(group.x, group.z);
  fill_tables(row, row.token * 3u * c4 + head, 3u * c4, head, lane);

  let query = min(lane, row.r2 - 1u);
  //#unroll x HD4
  let q_${x} = q_row[query * HD4 + ${x}u];
  //#end
  //#if PADDED
  fill_mass(row, lane);
  var qk = 0.0;
  //#unroll x HD4
  qk = dot4(q_${x}, qkv_bias[c4 + head + ${x}u], qk);
  var acc_${x} = qkv_bias[2u * c4 + head + ${x}u];
  //#end
  var top = fma(p.scale, qk, pad_mass(query));
  var sum = 1.0;
  //#else
  var top = LOWEST;
  var sum = 0.0;
  //#unroll x HD4
  var acc_${x} = vec4f(0.0);
  //#end
  //#end
  //#unroll j KEYS
  let d_${j} = rel_d[query * L + ${j}u];
  //#end
  for (var kd = 0u; kd < row.r0; kd++) {
    //#unroll j KEYS
    let dh_${j} = d_${j} + rel_h[kd * L + ${j}u];
    //#end
    for (var kh = 0u; kh < row.r1; kh++) {
      let token = row.window_token + (kd * p.grid_h + kh) * p.grid_w + query;
      let k_at = token * 3u * c4 + c4 + head;
      //#unroll j KEYS
      var s_${j} = 0.0;
      //#end
      //#unroll x HD4
      {
        let k = qkv[k_at + ${x}u];
        //#unroll j KEYS
        s_${j} = dot4(q_${x}, subgroupBroadcast(k, ${j}u), s_${j});
        //#end
      }
      //#end
      var higher = top;
      //#unroll j KEYS
      s_${j} = fma(p.scale, s_${j}, dh_${j} + rel_w[kh * L + ${j}u]);
      //#if RAGGED
      s_${j} = select(LOWEST, s_${j}, ${j}u < row.r2);
      //#end
      higher = max(higher, s_${j});
      //#end
      let factor = exp(top - higher);
      top = higher;
      sum *= factor;
      //#unroll j KEYS
      let p_${j} = exp(s_${j} - top);
      sum += p_${j};
      //#end
      //#unroll x HD4
      {
        let v = qkv[k_at + c4 + ${x}u];
        acc_${x} *= factor;
        //#unroll j KEYS
        acc_${x} = fma(vec4f(p_${j}), subgroupBroadcast(v, ${j}u), acc_${x});
        //#end
      }
      //#end
    }
  }
  if (lane < row.r2) {
    let at = (row.token + lane) * c4 + head;
    //#unroll x HD4
    out[at + ${x}u] = acc_${x} / sum;
    //#end
  }
}
