// An encoder block's attention, subgroup variant: one subgroup per $ROWS rows (d, h), (d, h + 1), … of a window and head, a
// lane per query, $PARTS of them where a row is longer than the subgroup. Keys and values are loaded a lane per key and
// broadcast, so the softmax needs no exchange between lanes at all, and what is broadcast serves every row and part: that
// is what more than one row is for. On CPU adapters, where shared memory and barriers are dear, many times the speed of
// attention.wgsl. Names: r a row, u a part of a row's queries, t a part of a row of keys, j a key in it, x a vec4 of the head.
enable subgroups;
//#include attention_forward.wgsl

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let begun = begin_rows(group, lane);
  let row = begun.row;
  let rows = begun.count;

  //#unroll u PARTS
  let query_${u} = min(${u}u * $SGu + lane, row.r2 - 1u);
  //#unroll r ROWS
  //#unroll x HD4
  let q_${r}_${u}_${x} = q_row[(${r}u * L + query_${u}) * HD4 + ${x}u];
  //#end
  //#if PADDED
  var qk_${r}_${u} = 0.0;
  //#unroll x HD4
  qk_${r}_${u} = dot4(q_${r}_${u}_${x}, qkv_bias[c4 + head + ${x}u], qk_${r}_${u});
  var acc_${r}_${u}_${x} = qkv_bias[2u * c4 + head + ${x}u];
  //#end
  var top_${r}_${u} = fma(p.scale, qk_${r}_${u}, pad_top[${r}u * L + query_${u}]);
  var sum_${r}_${u} = poisoned(1.0, top_${r}_${u}, MOST_PADDING);
  //#else
  var top_${r}_${u} = LOWEST;
  var sum_${r}_${u} = 0.0;
  //#unroll x HD4
  var acc_${r}_${u}_${x} = vec4f(0.0);
  //#end
  //#end
  var total_${r}_${u} = 0.0; // of the scores, for what softmax would hide
  //#unroll t PARTS
  //#unroll j LANES
  let d_${r}_${u}_${t}_${j} = rel_d[(${r}u * L + query_${u}) * L + min(${t}u * $SGu + ${j}u, L - 1u)];
  //#end
  //#end
  //#end
  //#end
  //#unroll t PARTS
  let column_${t} = min(${t}u * $SGu + lane, L - 1u);
  //#end
  for (var kd = 0u; kd < row.r0; kd++) {
    //#unroll r ROWS
    //#unroll t PARTS
    let h_${r}_${t} = rel_h[(${r}u * L + kd) * L + column_${t}];
    //#end
    //#end
    for (var kh = 0u; kh < row.r1; kh++) {
      let keys = row.window_token + (kd * p.grid_h + kh) * p.grid_w;
      //#unroll t PARTS
      let k_at_${t} = (keys + query_${t}) * 3u * c4 + c4 + head;
      //#unroll r ROWS
      //#unroll u PARTS
      //#unroll j LANES
      var s_${r}_${u}_${t}_${j} = 0.0;
      //#end
      //#end
      //#end
      //#unroll x HD4
      {
        let k = qkv[k_at_${t} + ${x}u];
        //#unroll j LANES
        {
          let one = $BROADCAST(k, ${j}u);
          //#unroll r ROWS
          //#unroll u PARTS
          s_${r}_${u}_${t}_${j} = dot4(q_${r}_${u}_${x}, one, s_${r}_${u}_${t}_${j});
          //#end
          //#end
        }
        //#end
      }
      //#end
      //#end
      //#unroll r ROWS
      //#unroll t PARTS
      let hw_${r}_${t} = h_${r}_${t} + rel_w[(${r}u * L + kh) * L + column_${t}];
      //#end
      //#unroll u PARTS
      var higher_${r}_${u} = top_${r}_${u};
      //#unroll t PARTS
      //#unroll j LANES
      s_${r}_${u}_${t}_${j} = fma(p.scale, s_${r}_${u}_${t}_${j}, d_${r}_${u}_${t}_${j} + $BROADCAST(hw_${r}_${t}, ${j}u));
      total_${r}_${u} += s_${r}_${u}_${t}_${j};
      //#if RAGGED
      s_${r}_${u}_${t}_${j} = select(LOWEST, s_${r}_${u}_${t}_${j}, ${t}u * $SGu + ${j}u < row.r2);
      //#end
      higher_${r}_${u} = max(higher_${r}_${u}, s_${r}_${u}_${t}_${j});
      //#end
      //#end
      let factor_${r}_${u} = exp(top_${r}_${u} - higher_${r}_${u});
      top_${r}_${u} = higher_${r}_${u};
      sum_${r}_${u} *= factor_${r}_${u};
      //#unroll t PARTS
      //#unroll j LANES
      let p_${r}_${u}_${t}_${j} = exp(s_${r}_${u}_${t}_${j} - top_${r}_${u});
      sum_${r}_${u} += p_${r}_${u}_${t}_${j};
      //#end
      //#end
      //#end
      //#end
      //#unroll x HD4
      //#unroll r ROWS
      //#unroll u PARTS
      acc_${r}_${u}_${x} *= factor_${r}_${u};
      //#end
      //#end
      //#unroll t PARTS
      {
        let v = qkv[k_at_${t} + c4 + ${x}u];
        //#unroll j LANES
        {
          let one = $BROADCAST(v, ${j}u);
          //#unroll r ROWS
          //#unroll u PARTS
          acc_${r}_${u}_${x} = fma(vec4f(p_${r}_${u}_${t}_${j}), one, acc_${r}_${u}_${x});
          //#end
          //#end
        }
        //#end
      }
      //#end
      //#end
    }
  }
  //#unroll r ROWS
  //#unroll u PARTS
  if (${u}u * $SGu + lane < row.r2 && ${r}u < rows) {
    let at = (row.token + ${r}u * p.grid_w + ${u}u * $SGu + lane) * c4 + head;
    let all = poisoned(sum_${r}_${u}, total_${r}_${u}, MOST_SCORE);
    //#unroll x HD4
    out[at + ${x}u] = acc_${r}_${u}_${x} / all;
    //#end
  }
  //#end
  //#end
}
