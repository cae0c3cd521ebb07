// The sum of squares of each block of $BLOCK gradients, and how many of them are NaN or ±∞: the first pass of the global
// norm (gradient_norm.wgsl finishes it). What is not finite is found by its bits, since a compiler may assume that a
// comparison like g != g is never true, and is counted instead of added. The order of the sums is fixed.
struct Params { count: u32, blocks: u32, first: u32, grid_x: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<u32>;      // float32, as bits
@group(0) @binding(2) var<storage, read_write> parts: array<vec2f>; // (Σ g², how many not finite); ours begin at `first`

var<workgroup> sums: array<vec2f, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let block = group.x + group.y * p.grid_x;
  if (block >= p.blocks) { return; }
  let stop = min((block + 1u) * $BLOCKu, p.count);
  var sum = vec2f(0.0);
  for (var i = block * $BLOCKu + t; i < stop; i += 256u) {
    let bits = gradient[i];
    if ((bits & 0x7f800000u) == 0x7f800000u) {
      sum.y += 1.0;
    } else {
      let g = bitcast<f32>(bits);
      sum.x += g * g;
    }
  }
  sums[t] = sum;
  workgroupBarrier();
  for (var step = 128u; step > 0u; step /= 2u) {
    if (t < step) { sums[t] += sums[t + step]; }
    workgroupBarrier();
  }
  if (t == 0u) { parts[p.first + block] = sums[0]; }
}
