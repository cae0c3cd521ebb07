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

/**
 * out[i, j, k] = trilinear sample of src (d, h, w) at A·(i, j, k, 1), `affine` holding A's first three rows
 * (or all four) row-major, in source voxels. Up to half a voxel outside (inclusive) the edge value counts;
 * beyond that, `fill`.
 */
export function affineResample(
  src: Tensor64,
  affine: ArrayLike<number>,
  size: readonly [number, number, number],
  fill = 0,
): Tensor64 {
  const [depth, height, width] = src.shape;
  check(src.shape.length === 3, 'affineResample takes (d, h, w)');
  check(affine.length === 12 || affine.length === 16, 'affineResample takes a 3×4 or 4×4 matrix');
  const extents = [depth, height, width];
  const low = [0, 0, 0];
  const high = [0, 0, 0];
  const fraction = [0, 0, 0];
  const y = tensor64([...size]);
  let out = 0;
  for (let i = 0; i < size[0]; i++) {
    for (let j = 0; j < size[1]; j++) {
      for (let k = 0; k < size[2]; k++) {
        let inside = true;
        for (let axis = 0; axis < 3; axis++) {
          const r = 4 * axis;
          const at = affine[r] * i + affine[r + 1] * j + affine[r + 2] * k + affine[r + 3];
          const extent = extents[axis];
          if (!(at >= -0.5 && at <= extent - 0.5)) inside = false;
          const clamped = Math.min(Math.max(at, 0), extent - 1);
          low[axis] = Math.floor(clamped);
          high[axis] = Math.min(low[axis] + 1, extent - 1);
          fraction[axis] = clamped - low[axis];
        }
        let sum = 0;
        for (let corner = 0; inside && corner < 8; corner++) {
          const d = corner & 4 ? high[0] : low[0];
          const h = corner & 2 ? high[1] : low[1];
          const w = corner & 1 ? high[2] : low[2];
          const weight =
            (corner & 4 ? fraction[0] : 1 - fraction[0]) *
            (corner & 2 ? fraction[1] : 1 - fraction[1]) *
            (corner & 1 ? fraction[2] : 1 - fraction[2]);
          // A neighbour of weight zero must not count: 0·NaN is NaN.
          if (weight !== 0) sum += weight * src.data[(d * height + h) * width + w];
        }
        y.data[out++] = inside ? sum : fill;
      }
    }
  }
  return y;
}
