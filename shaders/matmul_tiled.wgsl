// Matmul, tiled variant, for GPUs: a workgroup computes $TM × $TN of C, each invocation 8 rows × $COLS groups of 4 columns. Slices
// of 16 along K go through workgroup memory, in two buffers: while one is multiplied, the loads of the next slice are on
// their way, and one barrier a slice is enough.
//#include matmul_common.wgsl

var<workgroup> tile_a: array<vec4f, $TILE_A>; // [buffer][k 0…15][row / 4]
var<workgroup> tile_b: array<vec4f, $TILE_B>; // [buffer][k 0…15][col / 4]

@compute @workgroup_size($THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  //#include matmul_sample.wgsl THREAD=index
  let across = $TNu / (4u * $COLSu);
  let tx = index % across;
  let ty = index / across;
  let tile = tile_of(group, $TMu, $TNu);
  let row0 = tile.y * $TMu;
  let col0 = tile.x * $TNu;
  //#unroll c COLS
  //#unroll h 2
  var acc_${h}x_${c} = vec4f(0.0);
  var acc_${h}y_${c} = vec4f(0.0);
  var acc_${h}z_${c} = vec4f(0.0);
  var acc_${h}w_${c} = vec4f(0.0);
  //#end
  //#end
  // Each invocation loads 4 × 4 of a slice: the first $TM of A, turned on their way, the next $TN of B.
  let loads_a = index < $TMu;
  let loads_b = !loads_a && index < $TMu + $TNu;
  let block = select(index - $TMu, index, loads_a);
  let block_k = 4u * select(block / ($TNu / 4u), block % 4u, loads_a);
  let block_at = select(block % ($TNu / 4u), block / 4u, loads_a); // its 4 rows of A or columns of B
  //#unroll r 4
  let row_${r} = first + min(row0 + block_at * 4u + ${r}u, p.rows - 1u);
  var base_${r} = a_base(row_${r}, 0u);
  //#if NORM
  var norm_${r} = vec2f(0.0);
  if (loads_a) { norm_${r} = row_norm(row_${r}); }
  //#end
  //#end
  var tap = 0u;
  var start = 0u;
  let slices = p.taps * ((p.inner + 15u) / 16u);
  // Turn s loads slice s and multiplies slice s − 1.
  for (var slice = 0u; slice <= slices; slice++) {
    //#unroll r 4
    var v_${r} = vec4f(0.0);
    //#end
    if (slice < slices) {
      if (loads_a && start + block_k < p.inner) {
        //#unroll r 4
        //#if NORM
        v_${r} = a_normed(base_${r}, start + block_k, norm_${r});
        //#else
        v_${r} = a_load(base_${r}, start + block_k);
        //#end
        //#end
      }
      if (loads_b) {
        //#unroll r 4
        {
          let i = start + block_k + ${r}u;
          if (i < p.inner) { v_${r} = b_load(tap * p.inner + i, i, col0 + block_at * 4u); }
        }
        //#end
      }
      start += 16u;
      if (start >= p.inner && tap + 1u < p.taps) {
        start = 0u;
        tap++;
        //#unroll r 4
        base_${r} = a_base(row_${r}, tap);
        //#end
      }
    }
    let even = slice % 2u;
    if (slice > 0u) {
      let from_a = (1u - even) * $TMu * 4u + ty * 2u;
      let from_b = (1u - even) * $TNu * 4u + tx;
      // Sums are kept short (16 terms) and then added up: rounding grows with the length of a chain.
      //#unroll c COLS
      //#unroll h 2
      var sum_${h}x_${c} = vec4f(0.0);
      var sum_${h}y_${c} = vec4f(0.0);
      var sum_${h}z_${c} = vec4f(0.0);
      var sum_${h}w_${c} = vec4f(0.0);
      //#end
      //#end
      for (var k = 0u; k < 16u; k++) {
        //#unroll h 2
        let a_${h} = tile_a[from_a + k * ($TMu / 4u) + ${h}u];
        //#end
        //#unroll c COLS
        {
          let v = tile_b[from_b + k * ($TNu / 4u) + ${c}u * across];
          //#unroll h 2
          sum_${h}x_${c} = fma(vec4f(a_${h}.x), v, sum_${h}x_${c});
          sum_${h}y_${c} = fma(vec4f(a_${h}.y), v, sum_${h}y_${c});
          sum_${h}z_${c} = fma(vec4f(a_${h}.z), v, sum_${h}z_${c});
          sum_${h}w_${c} = fma(vec4f(a_${h}.w), v, sum_${h}w_${c});
          //#end
        }
        //#end
      }
      //#unroll c COLS
      //#unroll h 2
      acc_${h}x_${c} += sum_${h}x_${c};
      acc_${h}y_${c} += sum_${h}y_${c};
      acc_${h}z_${c} += sum_${h}z_${c};
      acc_${h}w_${c} += sum_${h}w_${c};
      //#end
      //#end
    }
    if (loads_a) {
      let to = even * $TMu * 4u + block_k * ($TMu / 4u) + block_at;
      tile_a[to] = vec4f(v_0.x, v_1.x, v_2.x, v_3.x);
      tile_a[to + $TMu / 4u] = vec4f(v_0.y, v_1.y, v_2.y, v_3.y);
      tile_a[to + 2u * ($TMu / 4u)] = vec4f(v_0.z, v_1.z, v_2.z, v_3.z);
      tile_a[to + 3u * ($TMu / 4u)] = vec4f(v_0.w, v_1.w, v_2.w, v_3.w);
    }
    if (loads_b) {
      let to = even * $TNu * 4u + block_k * ($TNu / 4u) + block_at;
      //#unroll r 4
      tile_b[to + ${r}u * ($TNu / 4u)] = v_${r};
      //#end
    }
    workgroupBarrier();
  }
  let row = row0 + ty * 8u;
  //#unroll c COLS
  {
    let col = col0 + (${c}u * across + tx) * 4u;
    //#unroll h 2
    if (row + ${h}u * 4u < p.rows) { finish(first + row + ${h}u * 4u, col, acc_${h}x_${c}); }
    if (row + ${h}u * 4u + 1u < p.rows) { finish(first + row + ${h}u * 4u + 1u, col, acc_${h}y_${c}); }
    if (row + ${h}u * 4u + 2u < p.rows) { finish(first + row + ${h}u * 4u + 2u, col, acc_${h}z_${c}); }
    if (row + ${h}u * 4u + 3u < p.rows) { finish(first + row + ${h}u * 4u + 3u, col, acc_${h}w_${c}); }
    //#end
  }
  //#end
}
