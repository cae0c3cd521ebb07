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
  readonly bias?: Tensor64;
}

/** x (B, D, H, W, I), weight (O, I, kd, kh, kw), bias (O) → (B, D', H', W', O), zero padded. */
export function conv3d(x: Tensor64, weight: Tensor64, options: ConvOptions = {}): Tensor64 {
  const [batch, depth, height, width, inputs] = x.shape;
  const [outputs, weightInputs, kd, kh, kw] = weight.shape;
  check(x.shape.length === 5 && weight.shape.length === 5 && weightInputs === inputs, 'conv3d shapes');
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
                const at = (((b * depth + id) * height + ih) * width + iw) * inputs;
                const tap = ((td * kh + th) * kw + tw) * outputs;
                for (let o = 0; o < outputs; o++) {
                  y.data[out + o] += dot(x.data, at, byTap, (tap + o) * inputs, inputs);
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
 * Transposed convolution whose stride equals its kernel (SPEC A3 uses 2), so outputs never overlap:
 * x (B, D, H, W, I), weight (I, O, k, k, k), bias (O) → (B, kD, kH, kW, O).
 */
export function convTranspose3d(x: Tensor64, weight: Tensor64, bias?: Tensor64): Tensor64 {
  const [batch, depth, height, width, inputs] = x.shape;
  const [weightInputs, outputs, k, kh, kw] = weight.shape;
  check(x.shape.length === 5 && weightInputs === inputs && kh === k && kw === k, 'convTranspose3d shapes');
  const y = tensor64([batch, depth * k, height * k, width * k, outputs]);
  let out = 0;
  for (let b = 0; b < batch; b++) {
    for (let d = 0; d < depth * k; d++) {
      for (let h = 0; h < height * k; h++) {
        for (let w = 0; w < width * k; w++) {
          const voxel =
            ((b * depth + Math.floor(d / k)) * height + Math.floor(h / k)) * width + Math.floor(w / k);
          const tap = ((d % k) * k + (h % k)) * k + (w % k);
          for (let o = 0; o < outputs; o++) {
            let sum = bias === undefined ? 0 : bias.data[o];
            for (let i = 0; i < inputs; i++) {
              sum += x.data[voxel * inputs + i] * weight.data[(i * outputs + o) * k * k * k + tap];
            }
            y.data[out++] = sum;
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
