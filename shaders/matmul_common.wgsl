// What the variants of the matmul family share: C = epilogue(A · B), B row-major (K, N), N contiguous.
//
//   A plain    (rows, K)
//   A CONV     gathered from a channels-last volume (B, D, H, W, C): K = taps · inner. A tap is a kernel
//              position, inner its C channels; with one input channel (patch embedding) a tap is a (kd, kh)
//              row and inner runs along kw.
//   epilogue   + bias[n mod bias_size], GELU or ReLU, + residual[row mod residual_rows, n]
//   SCATTER    transposed conv k2 s2: n = (td, th, tw, c) goes to voxel 2·(d, h, w) + (td, th, tw)
//   otherwise  C[row, c_offset + n], row stride ldc (branches write side by side into one concatenation)
//   A_TRANSPOSED  `a` is (K, rows); B_TRANSPOSED: B[tap, i, col] is element b_first + tap · b_tap + col · b_column + i of `b`.
//              Both of the subgroup variant alone, with vec4 all over.
//   REGION     z is a place in the gate's list of open samples; rows are then per sample
//   BRANCHES   of a region: z is a place in its list of open branches. B and bias are stacks of as many, b_stride and bias_stride
//              apart; a branch has a dilation of its own (its padding for a kernel of 3), and its n columns of C
//   NORM       A's rows are normalised as they are loaded: LayerNorm with norm_weight and norm_bias, eps norm_eps
struct Params {
  rows: u32, n: u32, inner: u32, taps: u32,
  ldc: u32, c_offset: u32, bias_size: u32, residual_rows: u32,
  in_d: u32, in_h: u32, in_w: u32, in_stride: u32,
  out_d: u32, out_h: u32, out_w: u32, channels: u32,
  kernel_h: u32, kernel_w: u32, stride: u32, padding: u32,
  dilation: u32, counter: u32, panel: u32,
  //#if B_TRANSPOSED
  b_first: u32, b_tap: u32, b_column: u32,
  //#end
  //#if BRANCHES
  work: u32, b_stride: u32, bias_stride: u32,
  //#end
  //#if NORM
  norm_eps: f32,
  //#end
}
@group(0) @binding(0) var<uniform> p: Params;
//#if A_SCALAR
@group(0) @binding(1) var<storage, read> a: array<f32>;
//#else
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
//#end
// B_HALF: f16, two to a word; unpacking them needs no feature of the device. B_TEXTURE: a run of texels, $B_WIDTH to a row.
//#if B_TEXTURE
@group(0) @binding(2) var b: texture_2d<f32>;
//#else
//#if N_SCALAR
//#if B_HALF
@group(0) @binding(2) var<storage, read> b: array<u32>;
//#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
//#end
//#else
//#if B_HALF
@group(0) @binding(2) var<storage, read> b: array<vec2u>;
//#else
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
//#end
//#end
//#end
//#if N_SCALAR
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
//#else
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;
//#end
//#if BIAS
//#if N_SCALAR
@group(0) @binding(4) var<storage, read> bias: array<f32>;
//#else
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
//#end
//#end
//#if RESIDUAL
//#if N_SCALAR
@group(0) @binding(5) var<storage, read> residual: array<f32>;
//#else
@group(0) @binding(5) var<storage, read> residual: array<vec4f>;
//#end
//#end
//#if REGION
//#include region.wgsl
//#end
//#if BRANCHES
// What this workgroup is at (matmul_sample.wgsl).
var<private> branch: u32;
var<private> dilation: u32;
//#end
//#include math.wgsl

// The tile (column, row) of a workgroup, for tiles of this many rows and columns. Not row by row: p.panel rows of tiles are
// gone through column by column, so that their part of A stays in a cache while B passes once.
fn tile_of(group: vec3u, rows: u32, cols: u32) -> vec2u {
  let across = (p.n + cols - 1u) / cols;
  let down = (p.rows + rows - 1u) / rows;
  let id = group.y * across + group.x;
  let above = (id / (p.panel * across)) * p.panel;
  let high = min(p.panel, down - above);
  let within = id - above * across;
  return vec2u(within / high, above + within % high);
}

// Where row's operand for this tap starts in `a`, in elements; −1 where the tap falls into the padding.
fn a_base(row: u32, tap: u32) -> i32 {
  //#if CONV
  let w = row % p.out_w;
  let h = (row / p.out_w) % p.out_h;
  let d = (row / (p.out_w * p.out_h)) % p.out_d;
  let sample = row / (p.out_w * p.out_h * p.out_d);
  let tw = tap % p.kernel_w;
  let th = (tap / p.kernel_w) % p.kernel_h;
  let td = tap / (p.kernel_w * p.kernel_h);
  // Unsigned on purpose: a coordinate below zero wraps round and fails the same comparison.
  //#if BRANCHES
  let x = w + (tw - 1u) * dilation;
  let y = h + (th - 1u) * dilation;
  let z = d + (td - 1u) * dilation;
  //#else
  let x = w * p.stride + tw * p.dilation - p.padding;
  let y = h * p.stride + th * p.dilation - p.padding;
  let z = d * p.stride + td * p.dilation - p.padding;
  //#end
  if (x >= p.in_w || y >= p.in_h || z >= p.in_d) { return -1; }
  return i32((((sample * p.in_d + z) * p.in_h + y) * p.in_w + x) * p.in_stride);
  //#else
  return i32(row * p.inner);
  //#end
}

// Elements i … i+3 of the operand that starts at `base`, for i < inner; zero in the padding and past the end of `inner`.
fn a_load(base: i32, i: u32) -> vec4f {
  //#if CONV
  if (base < 0) { return vec4f(0.0); }
  //#end
  //#if A_SCALAR
  let at = u32(base) + i;
  let rest = p.inner - i;
  var v = vec4f(a[at], 0.0, 0.0, 0.0);
  if (rest > 1u) { v.y = a[at + 1u]; }
  if (rest > 2u) { v.z = a[at + 2u]; }
  if (rest > 3u) { v.w = a[at + 3u]; }
  return v;
  //#else
  return a[(u32(base) + i) / 4u];
  //#end
}

//#if NORM
//#if A_SCALAR
@group(0) @binding(8) var<storage, read> norm_weight: array<f32>;
@group(0) @binding(9) var<storage, read> norm_bias: array<f32>;
//#else
@group(0) @binding(8) var<storage, read> norm_weight: array<vec4f>;
@group(0) @binding(9) var<storage, read> norm_bias: array<vec4f>;
//#end

// Mean and 1/deviation of a row of A, centred first, in layer_norm.wgsl's order of sums.
fn row_norm(row: u32) -> vec2f {
  let base = row * p.inner;
  let size = f32(p.inner);
  var sum = 0.0;
  var squares = 0.0;
  //#if A_SCALAR
  for (var i = 0u; i < p.inner; i++) { sum += a[base + i]; }
  let mean = sum / size;
  for (var i = 0u; i < p.inner; i++) {
    let v = a[base + i] - mean;
    squares += v * v;
  }
  //#else
  for (var i = 0u; i < p.inner; i += 4u) {
    let v = a[(base + i) / 4u];
    sum += v.x + v.y + v.z + v.w;
  }
  let mean = sum / size;
  for (var i = 0u; i < p.inner; i += 4u) {
    let v = a[(base + i) / 4u] - mean;
    let s = v * v;
    squares += s.x + s.y + s.z + s.w;
  }
  //#end
  let variance = squares / size;
  return vec2f(mean, poisoned(1.0 / sqrt(variance + p.norm_eps), variance, MOST_VARIANCE));
}

// a_load, normalised by what row_norm gave.
fn a_normed(base: i32, i: u32, norm: vec2f) -> vec4f {
  let v = (a_load(base, i) - norm.x) * norm.y;
  //#if A_SCALAR
  let last = p.inner - 1u;
  let at = vec4u(i, min(i + 1u, last), min(i + 2u, last), min(i + 3u, last));
  return v * vec4f(norm_weight[at.x], norm_weight[at.y], norm_weight[at.z], norm_weight[at.w])
    + vec4f(norm_bias[at.x], norm_bias[at.y], norm_bias[at.z], norm_bias[at.w]);
  //#else
  return v * norm_weight[i / 4u] + norm_bias[i / 4u];
  //#end
}
//#end

// B[k, col … col+3]; `i` is k's place within `inner`. Columns past N repeat the last ones and are never stored.
//#if B_TEXTURE
fn b_load(k: u32, i: u32, col: u32) -> vec4f {
  //#if A_SCALAR
  if (i >= p.inner) { return vec4f(0.0); }
  //#end
  //#if BRANCHES
  let four = (branch * p.b_stride + k * p.n + min(col, p.n - 4u)) / 4u;
  //#else
  let four = (k * p.n + min(col, p.n - 4u)) / 4u;
  //#end
  return textureLoad(b, vec2u(four % $B_WIDTHu, four / $B_WIDTHu), 0);
}
//#else
//#if N_SCALAR
fn b_at(at: u32) -> f32 {
  //#if B_HALF
  return unpack2x16float(b[at / 2u])[at % 2u];
  //#else
  return b[at];
  //#end
}
fn b_load(k: u32, i: u32, col: u32) -> vec4f {
  if (i >= p.inner) { return vec4f(0.0); }
  //#if BRANCHES
  let at = branch * p.b_stride + k * p.n;
  //#else
  let at = k * p.n;
  //#end
  let last = p.n - 1u;
  return vec4f(b_at(at + min(col, last)), b_at(at + min(col + 1u, last)), b_at(at + min(col + 2u, last)), b_at(at + min(col + 3u, last)));
}
//#else
fn b_load(k: u32, i: u32, col: u32) -> vec4f {
  //#if A_SCALAR
  if (i >= p.inner) { return vec4f(0.0); }
  //#end
  //#if BRANCHES
  let four = (branch * p.b_stride + k * p.n + min(col, p.n - 4u)) / 4u;
  //#else
  let four = (k * p.n + min(col, p.n - 4u)) / 4u;
  //#end
  //#if B_HALF
  return vec4f(unpack2x16float(b[four].x), unpack2x16float(b[four].y));
  //#else
  return b[four];
  //#end
}
//#end
//#end

// Where C[row, col] lives, in elements.
fn c_index(row: u32, col: u32) -> u32 {
  //#if SCATTER
  let w = row % p.in_w;
  let h = (row / p.in_w) % p.in_h;
  let dz = row / (p.in_w * p.in_h); // sample and depth together: the output's depth is exactly twice the input's
  let channel = col % p.channels;
  let tap = col / p.channels;
  let z = 2u * dz + tap / 4u;
  let y = 2u * h + (tap / 2u) % 2u;
  let x = 2u * w + tap % 2u;
  return ((z * (2u * p.in_h) + y) * (2u * p.in_w) + x) * p.channels + channel;
  //#else
  //#if BRANCHES
  return row * p.ldc + branch * p.n + col;
  //#else
  return row * p.ldc + p.c_offset + col;
  //#end
  //#end
}

fn finish(row: u32, col: u32, sum: vec4f) {
  if (col >= p.n) { return; }
  var v = sum;
  //#if N_SCALAR
  for (var j = 0u; j < 4u && col + j < p.n; j++) {
    var s = v[j];
    //#if BIAS
    //#if BRANCHES
    s += bias[branch * p.bias_stride + col + j];
    //#else
    s += bias[(col + j) % p.bias_size];
    //#end
    //#end
    s = activate(vec4f(s)).x;
    //#if RESIDUAL
    s += residual[(row % p.residual_rows) * p.n + col + j];
    //#end
    c[c_index(row, col + j)] = s;
  }
  //#else
  //#if BIAS
  //#if BRANCHES
  v += bias[(branch * p.bias_stride + col) / 4u];
  //#else
  v += bias[(col % p.bias_size) / 4u];
  //#end
  //#end
  v = activate(v);
  //#if RESIDUAL
  v += residual[((row % p.residual_rows) * p.n + col) / 4u];
  //#end
  c[c_index(row, col) / 4u] = v;
  //#end
}
