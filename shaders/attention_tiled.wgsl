// Multi-head attention for GPUs: what attention.wgsl computes (there are the notation and the closed form of the padding), in tiles as
// attention_tile.wgsl says. A workgroup owns queries: consecutive ones, or with WINDOW whole rows of one window, so that a key
// that was loaded serves them all. Keys go through workgroup memory; values are read as they lie, a row of the head by neighbours.
//#include attention_tile_forward.wgsl

// The highest of the values that a quad's lanes have.
fn most_over_lanes(value: vec4f, quad: u32, t: u32) -> vec4f {
  stage[LANES_AT + t] = value;
  workgroupBarrier();
  var most = value;
  for (var l = 0u; l < p.lanes; l += 2u) {
    let at = LANES_AT + quad * LANES + l;
    most = max(most, max(stage[at], stage[at + 1u]));
  }
  return most;
}

@compute @workgroup_size($T)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  //#include attention_tile_begin.wgsl
  // The padding's value, in part 0.
  //#unroll c COLUMN_BLOCKS
  //#if PADDED
  let start_${c} = select(vec4f(0.0), load_bias(p.v_offset + head, min(column + ${c}u * COLUMNS, HD4 - 1u)), part == 0u);
  //#else
  let start_${c} = vec4f(0.0);
  //#end
  //#end
  //#unroll c COLUMN_BLOCKS
  //#unroll i STRIP
  var acc_${c}_${i} = start_${c};
  //#end
  //#end

  for (var start = 0u; start < keys; start += KT) {
    let others = keys - start;
    //#if WINDOW
    fill_others(tile, start, keys, t);
    //#else
    for (var n = t; n < KT; n += $Tu) { other_token[n] = group.z * p.keys + min(start + n, keys - 1u); }
    //#end
    workgroupBarrier();
    //#include attention_tile_product.wgsl TO=s OWN=load_query OTHER=load_key

    //#include attention_tile_softmax.wgsl

    //#unroll u OTHER_QUADS
    {
      //#unroll i 4
      let e_${i} = exp(s_${u}_${i} - top);
      sum += e_${i};
      //#end
      //#include attention_tile_weights.wgsl OF=e
      workgroupBarrier();
      if (${u}u == 0u) {
        //#unroll i STRIP
        let shrink_${i} = rescale[(strip * STRIP + ${i}u) / 4u][${i}u % 4u];
        //#unroll c COLUMN_BLOCKS
        acc_${c}_${i} *= shrink_${i};
        //#end
        //#end
      }
      let quad_of_others = ${u}u;
      //#include attention_tile_sum.wgsl TO=acc OTHER=load_value
      workgroupBarrier();
    }
    //#end
  }

  // What every query's weights sum to.
  stage[LANES_AT + t] = poisoned4(sum, total, MOST_SCORE);
  workgroupBarrier();
  if (lane == 0u) { rescale[quad] = over_lanes(quad); }
  //#include attention_tile_parts.wgsl TO=acc
  workgroupBarrier();
  if (part > 0u) { return; }
  //#unroll i STRIP
  {
    let slot = strip * STRIP + ${i}u;
    let all = rescale[slot / 4u][${i}u % 4u];
    //#if WINDOW
    let real = is_real(tile, slot);
    //#else
    let real = first_query + slot < p.queries;
    //#end
    //#unroll c COLUMN_BLOCKS
    {
      let x = column + ${c}u * COLUMNS;
      if (real && x < HD4) {
        let y = acc_${c}_${i} / all;
        let at = own_token[slot] * p.o_stride + head;
        //#if SCALAR
        for (var j = 0u; j < 4u && 4u * x + j < HD; j++) { out[at + 4u * x + j] = y[j]; }
        //#else
        out[at / 4u + x] = y;
        //#end
      }
    }
    //#end
  }
  //#end
}
