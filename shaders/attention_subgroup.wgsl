// An encoder block's attention, subgroup variant: one subgroup per $ROWS rows (d, h), (d, h + 1), … of a window and head, a
// lane per query of each. Keys and values are loaded a lane per key and broadcast, so the softmax needs no exchange between
// lanes at all, and what is broadcast serves every row: that is what more than one is for. On CPU adapters, where shared
// memory and barriers are dear, several times the speed of attention.wgsl; a row must not have more positions than the
// subgroup has lanes.
enable subgroups;
//#include attention_window.wgsl
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;      // (B, D, H, W, 3·C)
@group(0) @binding(2) var<storage, read> qkv_bias: array<vec4f>; // (3·C)
@group(0) @binding(3) var<storage, read> table_d: array<vec4f>;  // (2L−1, head_dim)
@group(0) @binding(4) var<storage, read> table_h: array<vec4f>;
@group(0) @binding(5) var<storage, read> table_w: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (B, D, H, W, C)
//#include attention_row.wgsl

//#if PADDED
var<workgroup> pad_top: array<f32, $ROWS_SG>; // pad_mass by row and lane
//#end

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  // Groups of rows lie within windows: the last of a window can reach past it, and then repeats the window's last row.
  let w_window = group.x % p.windows_w;
  let h_group = (group.x / p.windows_w) % $H_GROUPSu;
  let d_abs = group.x / (p.windows_w * $H_GROUPSu);
  let h_window = (h_group / $GROUPS_IN_WINDOWu) * L;
  let h_first = h_window + (h_group % $GROUPS_IN_WINDOWu) * $ROWSu;
  let h_end = min(h_window + L, p.grid_h);
  // Not unrolled: the code for the tables is long, and drivers take seconds for it.
  for (var r = 0u; r < $ROWSu; r++) {
    let one = row_at(w_window, min(h_first + r, h_end - 1u), d_abs, group.z);
    fill_tables(r, one, one.token * 3u * c4 + head, 3u * c4, head, lane);
    //#if PADDED
    fill_mass(r, one, lane);
    pad_top[r * $SGu + lane] = pad_mass(r, min(lane, one.r2 - 1u));
    //#end
  }
  workgroupBarrier();
  let row = row_at(w_window, h_first, d_abs, group.z); // for what all of them share: the window

  let query = min(lane, row.r2 - 1u);
  //#unroll r ROWS
  //#unroll x HD4
  let q_${r}_${x} = q_row[(${r}u * L + query) * HD4 + ${x}u];
  //#end
  //#if PADDED
  var qk_${r} = 0.0;
  //#unroll x HD4
  qk_${r} = dot4(q_${r}_${x}, qkv_bias[c4 + head + ${x}u], qk_${r});
  var acc_${r}_${x} = qkv_bias[2u * c4 + head + ${x}u];
  //#end
  var top_${r} = fma(p.scale, qk_${r}, pad_top[${r}u * $SGu + lane]);
  var sum_${r} = 1.0;
  //#else
  var top_${r} = LOWEST;
  var sum_${r} = 0.0;
  //#unroll x HD4
  var acc_${r}_${x} = vec4f(0.0);
  //#end
  //#end
  //#unroll j KEYS
  let d_${r}_${j} = rel_d[(${r}u * L + query) * L + ${j}u];
  //#end
  //#end
  let column = min(lane, L - 1u);
  for (var kd = 0u; kd < row.r0; kd++) {
    //#unroll r ROWS
    let h_${r} = rel_h[(${r}u * L + kd) * L + column];
    //#end
    for (var kh = 0u; kh < row.r1; kh++) {
      let k_at = (row.window_token + (kd * p.grid_h + kh) * p.grid_w + query) * 3u * c4 + c4 + head;
      //#unroll r ROWS
      //#unroll j KEYS
      var s_${r}_${j} = 0.0;
      //#end
      //#end
      //#unroll x HD4
      {
        let k = qkv[k_at + ${x}u];
        //#unroll j KEYS
        {
          let one = subgroupBroadcast(k, ${j}u);
          //#unroll r ROWS
          s_${r}_${j} = dot4(q_${r}_${x}, one, s_${r}_${j});
          //#end
        }
        //#end
      }
      //#end
      //#unroll r ROWS
      let hw_${r} = h_${r} + rel_w[(${r}u * L + kh) * L + column];
      var higher_${r} = top_${r};
      //#unroll j KEYS
      s_${r}_${j} = fma(p.scale, s_${r}_${j}, d_${r}_${j} + subgroupBroadcast(hw_${r}, ${j}u));
      //#if RAGGED
      s_${r}_${j} = select(LOWEST, s_${r}_${j}, ${j}u < row.r2);
      //#end
      higher_${r} = max(higher_${r}, s_${r}_${j});
      //#end
      let factor_${r} = exp(top_${r} - higher_${r});
      top_${r} = higher_${r};
      sum_${r} *= factor_${r};
      //#unroll j KEYS
      let p_${r}_${j} = exp(s_${r}_${j} - top_${r});
      sum_${r} += p_${r}_${j};
      //#end
      //#end
      //#unroll x HD4
      {
        let v = qkv[k_at + c4 + ${x}u];
        //#unroll r ROWS
        acc_${r}_${x} *= factor_${r};
        //#end
        //#unroll j KEYS
        {
          let one = subgroupBroadcast(v, ${j}u);
          //#unroll r ROWS
          acc_${r}_${x} = fma(vec4f(p_${r}_${j}), one, acc_${r}_${x});
          //#end
        }
        //#end
      }
      //#end
    }
  }
  //#unroll r ROWS
  if (lane < row.r2 && h_first + ${r}u < h_end) {
    let at = (row.token + ${r}u * p.grid_w + lane) * c4 + head;
    //#unroll x HD4
    out[at + ${x}u] = acc_${r}_${x} / sum_${r};
    //#end
  }
  //#end
}
