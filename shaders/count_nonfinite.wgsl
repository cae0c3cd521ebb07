// How many elements are NaN, ±∞ or of a magnitude beyond `most`, and the index of the first, by their bits: a compiler may
// assume that a comparison like v != v is never true. result[0] = count, result[1] = first index + 1 (0: none), as integers.
struct Params { count: u32, most: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;

var<workgroup> counts: array<u32, 256>;
var<workgroup> firsts: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) t: u32) {
  var count = 0u;
  var first = 0xffffffffu;
  for (var i = t; i < p.count; i += 256u) {
    if ((x[i] & 0x7fffffffu) > bitcast<u32>(p.most)) {
      count++;
      first = min(first, i);
    }
  }
  counts[t] = count;
  firsts[t] = first;
  workgroupBarrier();
  for (var step = 128u; step > 0u; step /= 2u) {
    if (t < step) {
      counts[t] += counts[t + step];
      firsts[t] = min(firsts[t], firsts[t + step]);
    }
    workgroupBarrier();
  }
  if (t == 0u) {
    result[0] = counts[0];
    result[1] = select(firsts[0] + 1u, 0u, counts[0] == 0u);
  }
}
