// A 3D convolution of any geometry, gathered: y[voxel, o] = bias[o] + Σ over taps and the channels i of o's group of x[read, i] · w[tap, i, o].
// TRANSPOSED is the adjoint: output voxel v reads (v + padding − tap · dilation) / stride where that divides, which is the transposed
// convolution and the gradient of a strided one. Channels-last, zero in the padding. An invocation makes $ROWS voxels along w.
//   N_VEC4     four outputs of a group at a time       X_VEC4   four inputs at a time
//   DEPTHWISE  one channel a group, in and out: four groups at a time
// w[tap, i, o] of group g is element tap · w_tap + g · w_group + i · w_in + o: whatever order of axes has the outputs contiguous.
struct Params {
  count: u32, groups: u32, inputs: u32, outputs: u32,
  in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32,
  kernel_d: u32, kernel_h: u32, kernel_w: u32, padding_d: u32, padding_h: u32, padding_w: u32,
  dilation_d: u32, dilation_h: u32, dilation_w: u32,
  w_tap: u32, w_group: u32, w_in: u32, grid_x: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
//#if X_VEC4
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
//#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
//#end
//#if N_VEC4
alias Sum = vec4f;
const N = 4u;
//#else
alias Sum = f32;
const N = 1u;
//#end
@group(0) @binding(3) var<storage, read_write> y: array<Sum>;
//#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<Sum>;
//#end

// Weights as their store holds them (layout.ts): f16 are two to a word, texels four to a place, $W_WIDTH to a row.
//#if W_VEC4
alias Weights = vec4f;
//#else
alias Weights = f32;
//#end
//#if W_TEXTURE
@group(0) @binding(2) var w: texture_2d<f32>;
fn weight(at: u32) -> Weights {
  let four = at / 4u;
  let texel = textureLoad(w, vec2u(four % $W_WIDTHu, four / $W_WIDTHu), 0);
  //#if W_VEC4
  return texel;
  //#else
  return texel[at % 4u];
  //#end
}
//#else
//#if W_HALF
@group(0) @binding(2) var<storage, read> w: array<u32>;
fn weight(at: u32) -> Weights {
  //#if W_VEC4
  return vec4f(unpack2x16float(w[at / 2u]), unpack2x16float(w[at / 2u + 1u]));
  //#else
  return unpack2x16float(w[at / 2u])[at % 2u];
  //#end
}
//#else
@group(0) @binding(2) var<storage, read> w: array<Weights>;
//#if W_VEC4
fn weight(at: u32) -> Weights { return w[at / 4u]; }
//#else
fn weight(at: u32) -> Weights { return w[at]; }
//#end
//#end
//#end

// Divided by, so a constant; the others are not: one text then serves every kernel and dilation.
const STRIDE = vec3u($STRIDE);
const OUTSIDE = 0xffffffffu;

// Where along an axis output `o` reads for a tap; beyond the axis where it reads nothing.
fn place(o: u32, tap: u32, stride: u32, padding: u32, dilation: u32) -> u32 {
  //#if TRANSPOSED
  let at = o + padding - tap * dilation;
  if (tap * dilation > o + padding || at % stride != 0u) { return OUTSIDE; }
  return at / stride;
  //#else
  // Unsigned on purpose: a coordinate below zero wraps round and fails the same comparison.
  return o * stride + tap * dilation - padding;
  //#end
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let e = (group.x + group.y * p.grid_x) * 64u + t;
  if (e >= p.count) { return; }
  let channels = p.groups * p.outputs;
  let blocks = channels / N;
  let across = (p.out_w + $ROWSu - 1u) / $ROWSu;
  let o = e % blocks * N;
  let w0 = e / blocks % across * $ROWSu;
  let h = e / (blocks * across) % p.out_h;
  let d = e / (blocks * across * p.out_h) % p.out_d;
  let sample = e / (blocks * across * p.out_h * p.out_d);
  //#if DEPTHWISE
  let first = o;
  let first_w = o * p.w_group;
  //#else
  let first = o / p.outputs * p.inputs;
  let first_w = o / p.outputs * p.w_group + o % p.outputs;
  //#end
  let stored = p.groups * p.inputs;
  //#unroll r ROWS
  //#if BIAS
  var sum${r} = bias[o / N];
  //#else
  var sum${r} = Sum();
  //#end
  //#end
  for (var td = 0u; td < p.kernel_d; td++) {
    let xd = place(d, td, STRIDE.x, p.padding_d, p.dilation_d);
    if (xd >= p.in_d) { continue; }
    for (var th = 0u; th < p.kernel_h; th++) {
      let xh = place(h, th, STRIDE.y, p.padding_h, p.dilation_h);
      if (xh >= p.in_h) { continue; }
      let line = ((sample * p.in_d + xd) * p.in_h + xh) * p.in_w;
      for (var tw = 0u; tw < p.kernel_w; tw++) {
        let column = ((td * p.kernel_h + th) * p.kernel_w + tw) * p.w_tap + first_w;
        //#unroll r ROWS
        let x${r} = place(w0 + ${r}u, tw, STRIDE.z, p.padding_w, p.dilation_w);
        let inside${r} = x${r} < p.in_w;
        let at${r} = (line + x${r}) * stored + first;
        //#end
        //#if DEPTHWISE
        let by = vec4f(weight(column), weight(column + p.w_group), weight(column + 2u * p.w_group), weight(column + 3u * p.w_group));
        //#unroll r ROWS
        if (inside${r}) { sum${r} += x[at${r} / N] * by; }
        //#end
        //#else
        //#if X_VEC4
        for (var i = 0u; i < p.inputs; i += 4u) {
          //#unroll j 4
          let by${j} = weight(column + (i + ${j}u) * p.w_in);
          //#end
          //#unroll r ROWS
          if (inside${r}) {
            let v = x[(at${r} + i) / 4u];
            sum${r} += v.x * by0 + v.y * by1 + v.z * by2 + v.w * by3;
          }
          //#end
        }
        //#else
        for (var i = 0u; i < p.inputs; i++) {
          let by = weight(column + i * p.w_in);
          //#unroll r ROWS
          if (inside${r}) { sum${r} += x[at${r} + i] * by; }
          //#end
        }
        //#end
        //#end
      }
    }
  }
  let to = ((sample * p.out_d + d) * p.out_h + h) * p.out_w + w0;
  //#unroll r ROWS
  if (w0 + ${r}u < p.out_w) { y[((to + ${r}u) * channels + o) / N] = sum${r}; }
  //#end
}
