// Encoder attention, backward, second pass, for GPUs: what attention_backward_keys.wgsl computes, a workgroup for several rows of
// keys of one window, in tiles as attention_tile.wgsl says: its own tokens are keys, the others the window's queries. Writes
// dqkv (tokens, 3·C) of its tokens; dq comes from the record.
//#include attention_backward_tiled.wgsl
@group(0) @binding(3) var<storage, read> record: array<Element>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<Element>;
//#include attention_load.wgsl NAME=record FROM=record

var<workgroup> other_record: array<u32, KT>; // of the other's row
var<workgroup> other_w: array<u32, KT>;      // and its place there

fn kept(at: u32) -> f32 {
  //#if SCALAR
  return record[at];
  //#else
  return record[at / 4u][at % 4u];
  //#end
}
// Four neighbours from `at` on, of which `count` are wanted.
fn kept4(at: u32, count: u32) -> vec4f {
  //#if ALIGNED
  return record[at / 4u];
  //#else
  let last = count - 1u;
  return vec4f(kept(at), kept(at + min(1u, last)), kept(at + min(2u, last)), kept(at + min(3u, last)));
  //#end
}

fn store(which: u32, token: u32, head: u32, x: u32, v: vec4f) {
  let at = (token * 3u + which) * p.heads * HD + head;
  //#if SCALAR
  for (var j = 0u; j < 4u && 4u * x + j < HD; j++) { dqkv[at + 4u * x + j] = v[j]; }
  //#else
  dqkv[at / 4u + x] = v;
  //#end
}

@compute @workgroup_size($T)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.y * HD;
  //#include attention_tile_roles.wgsl
  let tile = tile_of(group);
  if (tile.row >= tile.r0 * tile.r1 || tile.first >= tile.r2) { return; }
  let queries = tile.r0 * tile.r1 * tile.r2;
  for (var e = t; e < QT; e += $Tu) { own_token[e] = token_at(tile, place_of(tile, e)); }
  // The quad's keys: neighbours along w.
  let key = place_of(tile, 4u * quad);
  let in_row = min(4u, tile.r2 - key.z);
  let by_h = AT_TABLES + L * L + key.x * L + key.z;
  let by_w = AT_TABLES + 2u * L * L + key.y * L + key.z;

  //#unroll c COLUMN_BLOCKS
  //#unroll i STRIP
  var dk_${c}_${i} = vec4f(0.0);
  var dv_${c}_${i} = vec4f(0.0);
  //#end
  //#end
  for (var start = 0u; start < queries; start += KT) {
    let others = queries - start;
    for (var n = t; n < KT; n += $Tu) {
      let place = other_of(tile, min(start + n, queries - 1u));
      other_token[n] = token_at(tile, place);
      other_record[n] = record_of(tile, place.xy, group);
      other_w[n] = place.z;
    }
    workgroupBarrier();
    //#include attention_tile_product.wgsl TO=s OWN=load_key OTHER=load_query
    //#include attention_tile_product.wgsl TO=g OWN=load_value OTHER=load_dout
    //#unroll i 4
    let slot_${i} = ${i}u * LANES + lane;
    let from_${i} = other_record[slot_${i}];
    let w_${i} = other_w[slot_${i}];
    let relative_${i} = kept4(from_${i} + AT_TABLES + w_${i} * L + key.z, in_row) + kept4(from_${i} + by_h, in_row) + kept4(from_${i} + by_w, in_row);
    let weight_${i} = select(vec4f(0.0), exp(fma(vec4f(p.scale), s_0_${i}, relative_${i}) - vec4f(kept(from_${i} + AT_LSE + w_${i}))), slot_${i} < others);
    let ds_${i} = p.scale * weight_${i} * (g_0_${i} - vec4f(kept(from_${i} + AT_DOT + w_${i})));
    //#end
    let quad_of_others = 0u;
    //#include attention_tile_weights.wgsl OF=weight
    workgroupBarrier();
    //#include attention_tile_sum.wgsl TO=dv OTHER=load_dout
    workgroupBarrier();
    //#include attention_tile_weights.wgsl OF=ds
    workgroupBarrier();
    //#include attention_tile_sum.wgsl TO=dk OTHER=load_query
    workgroupBarrier();
  }
  //#include attention_tile_parts.wgsl TO=dk
  //#include attention_tile_parts.wgsl TO=dv
  if (part > 0u) { return; }
  //#unroll i STRIP
  {
    let slot = strip * STRIP + ${i}u;
    if (is_real(tile, slot)) {
      let place = place_of(tile, slot);
      let dq = record_of(tile, place.xy, group) + place.z * HD;
      //#unroll c COLUMN_BLOCKS
      {
        let x = column + ${c}u * COLUMNS;
        if (x < HD4) {
          store(0u, own_token[slot], head, x, load_record(dq, x));
          store(1u, own_token[slot], head, x, dk_${c}_${i});
          store(2u, own_token[slot], head, x, dv_${c}_${i});
        }
      }
      //#end
    }
  }
  //#end
}
