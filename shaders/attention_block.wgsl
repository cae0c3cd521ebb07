// An encoder block's attention, block variant: one subgroup per $ROWS rows (d, h), (d, h + 1), … of a window and head, a lane
// to every 4 neighbouring queries of a row. Keys come in blocks of $KEY_ROWS whole rows. Both products have the loop of
// matmul_subgroup.wgsl: what differs from lane to lane is the queries (q, then the probabilities, each lane's own), what is
// loaded a piece per lane and broadcast are the keys, then the values. The softmax needs no exchange between lanes.
//
// Why beside attention_subgroup.wgsl: that one unrolls a whole head, longer code than a CPU's instruction cache; here the two
// loops are short, over 4 components of the head and over 4 keys.
enable subgroups;
//#include attention_forward.wgsl

const KEYS = $KEYSu;             // slots of a row of keys
const BLOCK = $BLOCKu;           // $KEY_ROWS rows of slots: (r, w') is slot r · KEYS + w'
const STEPS = (BLOCK + 3u) / 4u * 4u;
const PART_LANES = $PART_LANESu; // vec4 of the head that are loaded at once, a lane each
var<workgroup> probability: array<vec4f, $PROBABILITY>; // [slot][lane]: of the lane's 4 queries, not yet divided by their sum

// First element of a slot's token, in vec4, in the block that begins at row (kd, kh) of the window.
fn token_of(row: Row, kd: u32, kh: u32, slot: u32) -> u32 {
  let in_block = min(slot, BLOCK - 1u);
  let h = min(kh + in_block / KEYS, row.r1 - 1u);
  let w = min(in_block % KEYS, row.r2 - 1u);
  return (row.window_token + (kd * p.grid_h + h) * p.grid_w + w) * (3u * p.heads * HD4);
}

@compute @workgroup_size($SG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let c4 = p.heads * HD4;
  let head = group.y * HD4;
  let begun = begin_rows(group, lane);
  let row = begun.row;
  let rows = begun.count;

  // This lane's queries: 4 of row `mine`, from w_first.
  let mine = min(lane / $QUARTERSu, $ROWSu - 1u);
  let w_first = lane % $QUARTERSu * 4u;
  let query = min(w_first + vec4u(0u, 1u, 2u, 3u), vec4u(row.r2 - 1u));
  let q_at = (mine * L + query) * HD4;
  let rel_at = mine * L * L;
  var to_d: array<vec4f, KEYS>; // T_d of the queries by w'
  //#unroll j KEYS
  {
    let at = rel_at + query * L + min(${j}u, L - 1u);
    to_d[${j}u] = vec4f(rel_d[at.x], rel_d[at.y], rel_d[at.z], rel_d[at.w]);
  }
  //#end

  // Sums of the values: component x of vec4 l of part g of the head, by query.
  //#unroll g PARTS
  //#if PADDED
  let start_${g} = qkv_bias[2u * c4 + head + ${g}u * PART_LANES + min(lane, PART_LANES - 1u)];
  //#end
  //#unroll l PART_LANES
  //#if PADDED
  let start_${g}_${l} = $BROADCAST(start_${g}, ${l}u);
  //#else
  let start_${g}_${l} = vec4f(0.0);
  //#end
  //#unroll x 4
  var acc_${g}_${l}_${x} = vec4f(start_${g}_${l}[${x}]);
  //#end
  //#end
  //#end
  //#if PADDED
  var qk = vec4f(0.0);
  for (var x = 0u; x < p.head_vec4; x++) {
    let bias = qkv_bias[c4 + head + x];
    qk += bias * mat4x4f(q_row[q_at.x + x], q_row[q_at.y + x], q_row[q_at.z + x], q_row[q_at.w + x]);
  }
  let top_at = mine * L + query;
  var top = fma(vec4f(p.scale), qk, vec4f(pad_top[top_at.x], pad_top[top_at.y], pad_top[top_at.z], pad_top[top_at.w]));
  var sum = vec4f(
    poisoned(1.0, top.x, MOST_PADDING), poisoned(1.0, top.y, MOST_PADDING),
    poisoned(1.0, top.z, MOST_PADDING), poisoned(1.0, top.w, MOST_PADDING),
  );
  //#else
  var top = vec4f(LOWEST);
  var sum = vec4f(0.0);
  //#end
  var total = vec4f(0.0); // of the scores, for what softmax would hide
  // Slots past the block's last are never written again.
  for (var n = BLOCK; n < STEPS; n++) { probability[n * $SGu + lane] = vec4f(0.0); }

  for (var kd = 0u; kd < row.r0; kd++) {
    var to_h: array<f32, KEYS>;
    //#unroll j KEYS
    to_h[${j}u] = rel_h[rel_at + kd * L + min(${j}u, L - 1u)];
    //#end
    for (var kh = 0u; kh < row.r1; kh += $KEY_ROWSu) {
      // Scores: a key per lane, broadcast against the lane's queries, 4 components of the head at a time.
      var k_at: array<u32, $GROUPS>;
      //#unroll j GROUPS
      k_at[${j}u] = token_of(row, kd, kh, ${j}u * $SGu + lane) + c4 + head;
      //#end
      //#unroll n BLOCK
      var s_${n} = vec4f(0.0);
      //#end
      for (var x = 0u; x < p.head_vec4; x++) {
        let q = transpose(mat4x4f(q_row[q_at.x + x], q_row[q_at.y + x], q_row[q_at.z + x], q_row[q_at.w + x]));
        var k: array<vec4f, $GROUPS>;
        //#unroll j GROUPS
        k[${j}u] = qkv[k_at[${j}u] + x];
        //#end
        //#unroll n BLOCK
        s_${n} = add(s_${n}, $BROADCAST(k[${n}u / $SGu], ${n}u % $SGu), q);
        //#end
      }
      var higher = top;
      //#unroll n BLOCK
      {
        let r = ${n}u / KEYS;
        let j = ${n}u % KEYS;
        let to_w = rel_w[rel_at + min(kh + r, L - 1u) * L + min(j, L - 1u)];
        s_${n} = fma(vec4f(p.scale), s_${n}, to_d[j] + vec4f(to_h[j] + to_w));
        total += s_${n};
        //#if CUT
        s_${n} = select(vec4f(LOWEST), s_${n}, kh + r < row.r1 && j < row.r2);
        //#end
        higher = max(higher, s_${n});
      }
      //#end
      let factor = exp(top - higher);
      top = higher;
      sum *= factor;
      //#unroll n BLOCK
      {
        let e = exp(s_${n} - top);
        sum += e;
        probability[${n}u * $SGu + lane] = e;
      }
      //#end

      // Values: 4 keys at a time, a vec4 of the head per lane, broadcast against the lane's probabilities.
      //#unroll g PARTS
      //#unroll l PART_LANES
      //#unroll x 4
      acc_${g}_${l}_${x} *= factor;
      //#end
      //#end
      //#end
      for (var n = 0u; n < STEPS; n += 4u) {
        let e = mat4x4f(
          probability[n * $SGu + lane], probability[(n + 1u) * $SGu + lane],
          probability[(n + 2u) * $SGu + lane], probability[(n + 3u) * $SGu + lane],
        );
        let at = 2u * c4 + head + min(lane, PART_LANES - 1u);
        let v_at = at + vec4u(token_of(row, kd, kh, n), token_of(row, kd, kh, n + 1u), token_of(row, kd, kh, n + 2u), token_of(row, kd, kh, n + 3u));
        //#unroll g PARTS
        {
          let part = ${g}u * PART_LANES;
          let v = mat4x4f(qkv[v_at.x + part], qkv[v_at.y + part], qkv[v_at.z + part], qkv[v_at.w + part]);
          //#unroll l PART_LANES
          {
            let one = transpose(mat4x4f(
              $BROADCAST(v[0], ${l}u), $BROADCAST(v[1], ${l}u),
              $BROADCAST(v[2], ${l}u), $BROADCAST(v[3], ${l}u),
            ));
            //#unroll x 4
            acc_${g}_${l}_${x} = add(acc_${g}_${l}_${x}, one[${x}], e);
            //#end
          }
          //#end
        }
        //#end
      }
    }
  }

  if (lane >= $ROWSu * $QUARTERSu || mine >= rows) { return; }
  // Not unrolled: a store is long code on CPU adapters.
  for (var i = 0u; i < 4u && w_first + i < row.r2; i++) {
    let at = (row.token + mine * p.grid_w + w_first + i) * c4 + head;
    let all = poisoned(sum[i], total[i], MOST_SCORE);
    //#unroll g PARTS
    //#unroll l PART_LANES
    out[at + ${g}u * PART_LANES + ${l}u] = vec4f(acc_${g}_${l}_0[i], acc_${g}_${l}_1[i], acc_${g}_${l}_2[i], acc_${g}_${l}_3[i]) / all;
    //#end
    //#end
  }
}
