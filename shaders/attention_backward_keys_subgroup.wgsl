// Encoder attention, backward, second pass, subgroup variant: what attention_backward_keys.wgsl computes, with one
// subgroup per row and a lane per key; queries are loaded a lane each and broadcast.
enable subgroups;
//#include attention_backward_keys_lanes.wgsl
//#include attention_products.wgsl

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let row = row_of(group.x, group.z);
  let key = min(lane, row.r2 - 1u);
  let at = (row.token + key) * 3u * c4 + head;
  //#unroll x HD4
  let k_${x} = qkv[at + c4 + ${x}u];
  let v_${x} = qkv[at + 2u * c4 + ${x}u];
  var dk_${x} = vec4f(0.0);
  var dv_${x} = vec4f(0.0);
  //#end
  for (var qd = 0u; qd < row.r0; qd++) {
    for (var qh = 0u; qh < row.r1; qh++) {
      // Row (qd, qh) of the same window, as the first pass was dispatched.
      let x = group.x + ((qd * p.grid_h + qh) - (row.d * p.grid_h + row.h)) * p.windows_w;
      let other = record_at(x, group.y, group.z);
      let token = row.window_token + (qd * p.grid_h + qh) * p.grid_w + key;
      let lse = record[other + AT_LSE + key];
      let product = record[other + AT_DOT + key];
      let tables = other + AT_TABLES + key;
      let rel = record[tables + L * L + row.d * L] + record[tables + 2u * L * L + row.h * L];
      //#unroll x HD4
      let q_${x} = qkv[token * 3u * c4 + head + ${x}u];
      let do_${x} = dout[token * c4 + head + ${x}u];
      //#end
      //#unroll i KEYS
      {
        var s = 0.0;
        var dp = -$BROADCAST(product, ${i}u);
        //#unroll x HD4
        let qb_${x} = $BROADCAST(q_${x}, ${i}u);
        let db_${x} = $BROADCAST(do_${x}, ${i}u);
        s = dot4(k_${x}, qb_${x}, s);
        dp = dot4(v_${x}, db_${x}, dp);
        //#end
        var weight = exp(fma(p.scale, s, rel + record[tables + ${i}u * L]) - $BROADCAST(lse, ${i}u));
        //#if RAGGED
        weight = select(0.0, weight, ${i}u < row.r2);
        //#end
        let ds = p.scale * weight * dp;
        //#unroll x HD4
        dk_${x} = fma(vec4f(ds), qb_${x}, dk_${x});
        dv_${x} = fma(vec4f(weight), db_${x}, dv_${x});
        //#end
      }
      //#end
    }
  }
  if (lane < row.r2) {
    let own = record_at(group.x, group.y, group.z) + lane * HD;
    //#unroll x HD4
    dqkv[at + ${x}u] = vec4f(record[own + ${x}u * 4u], record[own + ${x}u * 4u + 1u], record[own + ${x}u * 4u + 2u], record[own + ${x}u * 4u + 3u]);
    dqkv[at + c4 + ${x}u] = dk_${x};
    dqkv[at + 2u * c4 + ${x}u] = dv_${x};
    //#end
  }
}
