/** Trilinear sampling: the decoder's upsampling (SPEC A3) and resampling through an affine (SPEC A0). */
import { check, type Tensor64, tensor64 } from './tensor.js';

/** One output index of an axis: the two source indices it lies between and the upper one's weight. */
interface Tap {
  readonly low: number;
  readonly high: number;
  readonly fraction: number;
}

/** torch's align_corners=false: source coordinate (i + ½)·from/to − ½, not below 0, edges repeated. */
function axisTaps(from: number, to: number): Tap[] {
  const taps: Tap[] = [];
  for (let i = 0; i < to; i++) {
    const at = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    const low = Math.min(Math.floor(at), from - 1);
    taps.push({ low, high: Math.min(low + 1, from - 1), fraction: at - low });
  }
  return taps;
}

/** planes (P, d, h, w), channels first, → (P, D, H, W) with size [D, H, W]. */
export function trilinearResize(planes: Tensor64, size: readonly [number, number, number]): Tensor64 {
  const [count, depth, height, width] = planes.shape;
  check(planes.shape.length === 4, 'trilinearResize takes (planes, d, h, w)');
  const td = axisTaps(depth, size[0]);
  const th = axisTaps(height, size[1]);
  const tw = axisTaps(width, size[2]);
  const y = tensor64([count, ...size]);
  let out = 0;
  for (let p = 0; p < count; p++) {
    const at = (d: number, h: number, w: number) => planes.data[((p * depth + d) * height + h) * width + w];
    for (const d of td) {
      for (const h of th) {
        for (const w of tw) {
          const row = (i: number, j: number) =>
            at(i, j, w.low) * (1 - w.fraction) + at(i, j, w.high) * w.fraction;
          const plane = (i: number) => row(i, h.low) * (1 - h.fraction) + row(i, h.high) * h.fraction;
          y.data[out++] = plane(d.low) * (1 - d.fraction) + plane(d.high) * d.fraction;
        }
      }
    }
  }
  return y;
}

/**
 * The transpose of `trilinearResize`, its backward: gradient (P, D, H, W) → (P, d, h, w) with size [d, h, w].
 */
export function trilinearResizeAdjoint(
  gradient: Tensor64,
  size: readonly [number, number, number],
): Tensor64 {
  const [count, depth, height, width] = gradient.shape;
  check(gradient.shape.length === 4, 'trilinearResizeAdjoint takes (planes, D, H, W)');
  const td = axisTaps(size[0], depth);
  const th = axisTaps(size[1], height);
  const tw = axisTaps(size[2], width);
  const y = tensor64([count, ...size]);
  let from = 0;
  for (let p = 0; p < count; p++) {
    for (const d of td) {
      for (const h of th) {
        for (const w of tw) {
          const g = gradient.data[from++];
          for (let corner = 0; corner < 8; corner++) {
            const i = corner & 4 ? d.high : d.low;
            const j = corner & 2 ? h.high : h.low;
            const k = corner & 1 ? w.high : w.low;
            const weight =
              (corner & 4 ? d.fraction : 1 - d.fraction) *
              (corner & 2 ? h.fraction : 1 - h.fraction) *
              (corner & 1 ? w.fraction : 1 - w.fraction);
            y.data[((p * size[0] + i) * size[1] + j) * size[2] + k] += g * weight;
          }
        }
      }
    }
  }
  return y;
}
