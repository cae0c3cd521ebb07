// Encoder attention, backward, second pass, block variant: what attention_backward_keys.wgsl computes, laid out as
// attention_block.wgsl is: one subgroup per $ROWS rows of keys, a lane to every 4 neighbouring keys of a row, and the window's queries
// in blocks of $KEY_ROWS whole rows. Both sides of the softmax take the same way: side 0 is dout against the values, which gives
// the probabilities' gradients, and with the probabilities dv; side 1 is the queries against the keys, which gives the
// scores, and with their gradients dk.
enable subgroups;
//#include attention_backward_keys_lanes.wgsl
//#include attention_rows.wgsl
//#include attention_products.wgsl

const KEYS = $KEYSu;   // slots of a row of queries, as many as of keys
const BLOCK = $BLOCKu; // $KEY_ROWS rows of slots: (r, w) is slot r · KEYS + w
const STEPS = (BLOCK + 3u) / 4u * 4u;
const PART_LANES = $PART_LANESu;      // vec4 of the head that are loaded at once, a lane each
const SIDE = $ROWSu * KEYS * HD4;
const SIDE_FACTORS = $PROBABILITYu;
var<workgroup> own: array<vec4f, $OWN>;         // [side][row][key][vec4 of the head]: v, k
var<workgroup> factor: array<vec4f, $FACTORS>; // [side][slot][lane]: of the lane's 4 keys, probability and gradient of the score

// A query's vec4 x of the head, of a side.
fn query_of(side: u32, token: u32, head: u32, x: u32) -> vec4f {
  if (side == 0u) { return dout[token * (p.heads * HD4) + head + x]; }
  return qkv[token * (3u * p.heads * HD4) + head + x];
}

// The token of a slot in the block that begins at row (qd, qh) of the window.
fn token_of(row: Row, qd: u32, qh: u32, slot: u32) -> u32 {
  let in_block = min(slot, BLOCK - 1u);
  let h = min(qh + in_block / KEYS, row.r1 - 1u);
  return row.window_token + (qd * p.grid_h + h) * p.grid_w + min(in_block % KEYS, row.r2 - 1u);
}

// Where row (d, h) of the window has its record; rows past the window's last repeat it.
fn record_of(row: Row, d: u32, h: u32, group: vec3u) -> u32 {
  let rows_before = group.z * p.grid_d * p.grid_h;
  let first = row.window_token / p.grid_w - rows_before; // d · grid_h + h of the window's first row
  let x = (first + d * p.grid_h + min(h, row.r1 - 1u)) * p.windows_w + group.x % p.windows_w;
  return record_at(x, group.y, group.z);
}

fn at4(at: u32, place: vec4u) -> vec4f {
  let e = vec4u(at) + place;
  return vec4f(record[e.x], record[e.y], record[e.z], record[e.w]);
}

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let rows = rows_of(group);
  let row = rows.row;
  for (var e = lane; e < SIDE; e += $SGu) {
    let r = min(e / (KEYS * HD4), max(rows.count, 1u) - 1u);
    let at = (row.token + r * p.grid_w + min(e / HD4 % KEYS, row.r2 - 1u)) * 3u * c4 + head + e % HD4;
    own[e] = qkv[at + 2u * c4];
    own[SIDE + e] = qkv[at + c4];
  }
  // Slots past the block's last are never written again.
  for (var n = BLOCK; n < STEPS; n++) {
    factor[n * $SGu + lane] = vec4f(0.0);
    factor[SIDE_FACTORS + n * $SGu + lane] = vec4f(0.0);
  }
  workgroupBarrier();

  // This lane's keys: 4 of row `mine`, from w_first.
  let mine = min(lane / $QUARTERSu, $ROWSu - 1u);
  let w_first = lane % $QUARTERSu * 4u;
  let key = min(w_first + vec4u(0u, 1u, 2u, 3u), vec4u(row.r2 - 1u));
  let own_at = (mine * KEYS + key) * HD4;
  // This lane's rows of the tables in a record.
  let by_h = AT_TABLES + L * L + row.d * L;
  let by_w = AT_TABLES + 2u * L * L + min(row.h + mine, L - 1u) * L;

  //#unroll m 2
  //#unroll g PARTS
  //#unroll l PART_LANES
  //#unroll x 4
  var acc_${m}_${g}_${l}_${x} = vec4f(0.0); // component x of vec4 l of part g of the head, by key
  //#end
  //#end
  //#end
  //#end
  for (var qd = 0u; qd < row.r0; qd++) {
    for (var qh = 0u; qh < row.r1; qh += $KEY_ROWSu) {
      // Products of a side: a query per lane, broadcast against the lane's keys, 4 components of the head at a time.
      var token: array<u32, $GROUPS>;
      var lse: array<f32, $GROUPS>;
      var product: array<f32, $GROUPS>;
      //#unroll j GROUPS
      {
        let slot = min(${j}u * $SGu + lane, BLOCK - 1u);
        let from_record = record_of(row, qd, qh + slot / KEYS, group);
        let w = min(slot % KEYS, row.r2 - 1u);
        token[${j}u] = token_of(row, qd, qh, slot);
        lse[${j}u] = record[from_record + AT_LSE + w];
        product[${j}u] = record[from_record + AT_DOT + w];
      }
      //#end
      //#unroll m 2
      //#unroll n BLOCK
      var s_${m}_${n} = vec4f(0.0);
      //#end
      for (var x = 0u; x < p.head_vec4; x++) {
        let at = ${m}u * SIDE + own_at + vec4u(x);
        let mine4 = transpose(mat4x4f(own[at.x], own[at.y], own[at.z], own[at.w]));
        var query: array<vec4f, $GROUPS>;
        //#unroll j GROUPS
        query[${j}u] = query_of(${m}u, token[${j}u], head, x);
        //#end
        //#unroll n BLOCK
        s_${m}_${n} = add(s_${m}_${n}, $BROADCAST(query[${n}u / $SGu], ${n}u % $SGu), mine4);
        //#end
      }
      //#end
      var from_row: array<u32, $KEY_ROWS>;
      var rel: array<vec4f, $KEY_ROWS>;
      //#unroll r KEY_ROWS
      from_row[${r}u] = record_of(row, qd, qh + ${r}u, group);
      rel[${r}u] = at4(from_row[${r}u] + by_h, key) + at4(from_row[${r}u] + by_w, key);
      //#end
      //#unroll n BLOCK
      {
        let r = ${n}u / KEYS;
        let w = ${n}u % KEYS;
        let to_d = at4(from_row[r] + AT_TABLES + min(w, row.r2 - 1u) * L, key);
        var weight = exp(fma(vec4f(p.scale), s_1_${n}, to_d + rel[r]) - $BROADCAST(lse[${n}u / $SGu], ${n}u % $SGu));
        //#if CUT
        weight = select(vec4f(0.0), weight, qh + r < row.r1 && w < row.r2);
        //#end
        factor[${n}u * $SGu + lane] = weight;
        factor[SIDE_FACTORS + ${n}u * $SGu + lane] = p.scale * weight * (s_0_${n} - $BROADCAST(product[${n}u / $SGu], ${n}u % $SGu));
      }
      //#end

      // Sums: 4 queries at a time, a vec4 of the head per lane, broadcast against the lane's factors.
      //#unroll m 2
      for (var n = 0u; n < STEPS; n += 4u) {
        let f_at = ${m}u * SIDE_FACTORS + n * $SGu + lane;
        let e = mat4x4f(factor[f_at], factor[f_at + $SGu], factor[f_at + 2u * $SGu], factor[f_at + 3u * $SGu]);
        let t = vec4u(token_of(row, qd, qh, n), token_of(row, qd, qh, n + 1u), token_of(row, qd, qh, n + 2u), token_of(row, qd, qh, n + 3u));
        //#unroll g PARTS
        {
          let part = ${g}u * PART_LANES + min(lane, PART_LANES - 1u);
          let q = mat4x4f(
            query_of(${m}u, t.x, head, part), query_of(${m}u, t.y, head, part),
            query_of(${m}u, t.z, head, part), query_of(${m}u, t.w, head, part),
          );
          //#unroll l PART_LANES
          {
            let one = transpose(mat4x4f(
              $BROADCAST(q[0], ${l}u), $BROADCAST(q[1], ${l}u),
              $BROADCAST(q[2], ${l}u), $BROADCAST(q[3], ${l}u),
            ));
            //#unroll x 4
            acc_${m}_${g}_${l}_${x} = add(acc_${m}_${g}_${l}_${x}, one[${x}], e);
            //#end
          }
          //#end
        }
        //#end
      }
      //#end
    }
  }

  if (lane >= $ROWSu * $QUARTERSu || mine >= rows.count) { return; }
  // Not unrolled: a store is long code on CPU adapters.
  for (var i = 0u; i < 4u && w_first + i < row.r2; i++) {
    let at = (row.token + mine * p.grid_w + w_first + i) * 3u * c4 + head;
    let dq = record_of(row, row.d, row.h + mine, group) + (w_first + i) * HD;
    for (var x = 0u; x < p.head_vec4; x++) {
      dqkv[at + x] = vec4f(record[dq + x * 4u], record[dq + x * 4u + 1u], record[dq + x * 4u + 2u], record[dq + x * 4u + 3u]);
    }
    //#unroll g PARTS
    //#unroll l PART_LANES
    dqkv[at + c4 + ${g}u * PART_LANES + ${l}u] = vec4f(acc_1_${g}_${l}_0[i], acc_1_${g}_${l}_1[i], acc_1_${g}_${l}_2[i], acc_1_${g}_${l}_3[i]);
    dqkv[at + 2u * c4 + ${g}u * PART_LANES + ${l}u] = vec4f(acc_0_${g}_${l}_0[i], acc_0_${g}_${l}_1[i], acc_0_${g}_${l}_2[i], acc_0_${g}_${l}_3[i]);
    //#end
    //#end
  }
}
