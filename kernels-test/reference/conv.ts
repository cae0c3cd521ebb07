/** Convolutions on channels-last volumes with PyTorch's weights. */
import { check, dot, type Tensor64, tensor64 } from './tensor.js';

/** Per-axis (D, H, W) extents, or one number for all three. */
export type Triple = number | readonly [number, number, number];

function triple(value: Triple | undefined, otherwise: number): readonly [number, number, number] {
  if (value === undefined) return [otherwise, otherwise, otherwise];
  return typeof value === 'number' ? [value, value, value] : value;
}

/** Settings of a convolution as torch.nn.Conv3d names them. */
export interface ConvOptions {
  readonly stride?: Triple;
  readonly padding?: Triple;
  readonly dilation?: Triple;
  /** Channels in this many groups that know nothing of one another. */
  readonly groups?: number;
  readonly bias?: Tensor64;
}

/** x (B, D, H, W, I), weight (O, I / groups, kd, kh, kw), bias (O) → (B, D', H', W', O), zero padded. */
export function conv3d(x: Tensor64, weight: Tensor64, options: ConvOptions = {}): Tensor64 {
  const [batch, depth, height, width, channels] = x.shape;
  const [outputs, inputs, kd, kh, kw] = weight.shape;
  const groups = options.groups ?? 1;
  check(
    x.shape.length === 5 &&
      weight.shape.length === 5 &&
      inputs * groups === channels &&
      outputs % groups === 0,
    'conv3d shapes',
  );
  const [sd, sh, sw] = triple(options.stride, 1);
  const [pd, ph, pw] = triple(options.padding, 0);
  const [ld, lh, lw] = triple(options.dilation, 1);
  const bias = options.bias?.data;
  const od = Math.floor((depth + 2 * pd - ld * (kd - 1) - 1) / sd) + 1;
  const oh = Math.floor((height + 2 * ph - lh * (kh - 1) - 1) / sh) + 1;
  const ow = Math.floor((width + 2 * pw - lw * (kw - 1) - 1) / sw) + 1;

  // Taps outermost, (tap, O, I), so that the innermost sum runs over contiguous input channels.
  const taps = kd * kh * kw;
  const byTap = new Float64Array(weight.data.length);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let t = 0; t < taps; t++) {
        byTap[(t * outputs + o) * inputs + i] = weight.data[(o * inputs + i) * taps + t];
      }
    }
  }

  const y = tensor64([batch, od, oh, ow, outputs]);
  let out = 0;
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < od; d++) {
      for (let h = 0; h < oh; h++) {
        for (let w = 0; w < ow; w++) {
          for (let o = 0; o < outputs; o++) y.data[out + o] = bias === undefined ? 0 : bias[o];
          for (let td = 0; td < kd; td++) {
            const id = d * sd - pd + td * ld;
            if (id < 0 || id >= depth) continue;
            for (let th = 0; th < kh; th++) {
              const ih = h * sh - ph + th * lh;
              if (ih < 0 || ih >= height) continue;
              for (let tw = 0; tw < kw; tw++) {
                const iw = w * sw - pw + tw * lw;
                if (iw < 0 || iw >= width) continue;
                const at = (((b * depth + id) * height + ih) * width + iw) * channels;
                const tap = ((td * kh + th) * kw + tw) * outputs;
                for (let o = 0; o < outputs; o++) {
                  const from = at + Math.floor((o * groups) / outputs) * inputs;
                  y.data[out + o] += dot(x.data, from, byTap, (tap + o) * inputs, inputs);
                }
              }
            }
          }
          out += outputs;
        }
      }
    }
  }
  return y;
}

/**
 * torch.nn.ConvTranspose3d, scattered: x (B, D, H, W, I), weight (I, O / groups, kd, kh, kw), bias (O) → (B, D', H', W', O) with
 * D' = (D − 1)·stride − 2·padding + dilation·(kd − 1) + outputPadding + 1. The stride is the kernel unless given (SPEC A3: both 2).
 */
export function convTranspose3d(
  x: Tensor64,
  weight: Tensor64,
  bias?: Tensor64,
  options: Omit<ConvOptions, 'bias'> & { readonly outputPadding?: Triple } = {},
): Tensor64 {
  const [batch, depth, height, width, channels] = x.shape;
  const [weightInputs, outputs, kd, kh, kw] = weight.shape;
  const groups = options.groups ?? 1;
  check(
    x.shape.length === 5 && weight.shape.length === 5 && weightInputs === channels && channels % groups === 0,
    'convTranspose3d shapes',
  );
  const [sd, sh, sw] = triple(options.stride ?? [kd, kh, kw], 1);
  const [pd, ph, pw] = triple(options.padding, 0);
  const [ld, lh, lw] = triple(options.dilation, 1);
  const [ed, eh, ew] = triple(options.outputPadding, 0);
  const od = (depth - 1) * sd - 2 * pd + ld * (kd - 1) + ed + 1;
  const oh = (height - 1) * sh - 2 * ph + lh * (kh - 1) + eh + 1;
  const ow = (width - 1) * sw - 2 * pw + lw * (kw - 1) + ew + 1;
  const inputs = channels / groups;
  const all = outputs * groups;

  // (tap, O, I), as above.
  const taps = kd * kh * kw;
  const byTap = new Float64Array(weight.data.length);
  for (let i = 0; i < channels; i++) {
    const group = Math.floor(i / inputs);
    for (let o = 0; o < outputs; o++) {
      for (let t = 0; t < taps; t++) {
        byTap[(t * all + group * outputs + o) * inputs + (i % inputs)] =
          weight.data[(i * outputs + o) * taps + t];
      }
    }
  }

  const y = tensor64([batch, od, oh, ow, all]);
  if (bias !== undefined) for (let i = 0; i < y.data.length; i++) y.data[i] = bias.data[i % all];
  let from = 0;
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < depth; d++) {
      for (let h = 0; h < height; h++) {
        for (let w = 0; w < width; w++, from += channels) {
          for (let t = 0; t < taps; t++) {
            const yd = d * sd - pd + Math.floor(t / (kh * kw)) * ld;
            const yh = h * sh - ph + (Math.floor(t / kw) % kh) * lh;
            const yw = w * sw - pw + (t % kw) * lw;
            if (yd < 0 || yd >= od || yh < 0 || yh >= oh || yw < 0 || yw >= ow) continue;
            const at = (((b * od + yd) * oh + yh) * ow + yw) * all;
            for (let o = 0; o < all; o++) {
              const first = from + Math.floor(o / outputs) * inputs;
              y.data[at + o] += dot(x.data, first, byTap, (t * all + o) * inputs, inputs);
            }
          }
        }
      }
    }
  }
  return y;
}

/**
 * SPEC A1.1 before pos_embed: a convolution of one channel whose stride is its kernel.
 * volume (B, D, H, W) (or with a trailing channel of 1), weight (C, 1, p, p, p), bias (C) → (B, D/p, H/p, W/p, C).
 */
export function patchEmbed(volume: Tensor64, weight: Tensor64, bias: Tensor64): Tensor64 {
  const [batch, depth, height, width] = volume.shape;
  const [channels, one, p] = weight.shape;
  check(one === 1 && volume.data.length === batch * depth * height * width, 'patchEmbed takes one channel');
  check(
    depth % p === 0 && height % p === 0 && width % p === 0,
    `patchEmbed: patch ${p} must divide the volume`,
  );
  const y = tensor64([batch, depth / p, height / p, width / p, channels]);
  const patch = new Float64Array(p * p * p);
  let out = 0;
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < depth; d += p) {
      for (let h = 0; h < height; h += p) {
        for (let w = 0; w < width; w += p) {
          let at = 0;
          for (let i = 0; i < p; i++) {
            for (let j = 0; j < p; j++) {
              const row = ((b * depth + d + i) * height + h + j) * width + w;
              for (let k = 0; k < p; k++) patch[at++] = volume.data[row + k];
            }
          }
          for (let c = 0; c < channels; c++) {
            y.data[out++] = dot(patch, 0, weight.data, c * patch.length, patch.length) + bias.data[c];
          }
        }
      }
    }
  }
  return y;
}
