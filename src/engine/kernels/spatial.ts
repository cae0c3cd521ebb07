/** Planners of what works on coordinates: resizing, affine resampling, position encodings, the mask product. */
import { SgpSamError } from '../../base/errors.js';
import { type Capabilities, ceilDiv, chosenVariant, gridParams, type KernelCall, spread } from './call.js';
import { shader } from './shaders.js';

const THREADS = 64;
type Size3 = readonly [number, number, number];
const voxels = (size: Size3): number => size[0] * size[1] * size[2];

export type ResizeVariant = 'vec4' | 'scalar';

/** Trilinear resize of (P, d, h, w) planes, align_corners = false. */
export function planResize<T>(
  caps: Capabilities,
  spec: { readonly planes: number; readonly input: Size3; readonly output: Size3 },
  buffers: { x: T; y: T },
): KernelCall<T> {
  const { planes, input, output } = spec;
  const count = planes * voxels(output);
  // place() multiplies (2i + 1) by the input's length in 32 bits.
  if (Math.max(...input) * Math.max(...output) >= 2 ** 30) {
    throw new SgpSamError(
      'bad-graph',
      `resize: ${input.join('×')} → ${output.join('×')} is beyond 32-bit coordinates`,
    );
  }
  const vec4 = output[2] % 4 === 0 && output[2] >= 3 * input[2];
  const candidates: ResizeVariant[] = vec4 ? ['vec4', 'scalar'] : ['scalar'];
  const tunable = { key: `resize ${planes}x${input.join('x')} ${output.join('x')}`, candidates };
  const variant = chosenVariant(caps, 'resize', tunable, candidates[0] as ResizeVariant);
  const items = variant === 'vec4' ? count / 4 : count;
  const [x, y, z] = spread(ceilDiv(items, THREADS), caps);
  return {
    kernel: 'resize',
    variant,
    shader: shader('resize', { VEC4: variant === 'vec4' }),
    buffers,
    params: {
      count: items,
      ...gridParams(input, output),
      grid_x: x,
    },
    workgroups: [x, y, z],
    cost: { flops: 14 * count, bytes: 4 * (count + planes * voxels(input)) },
    tunable,
  };
}

/** Points (rows, 4) of voxel coordinates and label → embeddings (rows, 3·features), SPEC A2. */
export function planPointEncoding<T>(
  caps: Capabilities,
  spec: { readonly rows: number; readonly features: number; readonly volume: number },
  buffers: { gaussian: T; points: T; embed_0: T; embed_1: T; not_a_point: T; y: T },
): KernelCall<T> {
  const { rows, features, volume } = spec;
  const [x, y, z] = spread(ceilDiv(rows * features, THREADS), caps);
  return {
    kernel: 'position_encoding',
    variant: 'points',
    shader: shader('position_encoding', { POINTS: true }),
    buffers,
    params: { rows, features, edge: 0, volume, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 40 * rows * features, bytes: 12 * rows * features },
  };
}

/** The dense position encoding of a cube of cells: (edge³, 3·features), SPEC A2. */
export function planDenseEncoding<T>(
  caps: Capabilities,
  spec: { readonly edge: number; readonly features: number },
  buffers: { gaussian: T; y: T },
): KernelCall<T> {
  const rows = spec.edge ** 3;
  const [x, y, z] = spread(ceilDiv(rows * spec.features, THREADS), caps);
  return {
    kernel: 'position_encoding',
    variant: 'dense',
    shader: shader('position_encoding'),
    buffers,
    params: { rows, features: spec.features, edge: spec.edge, volume: 0, grid_x: x },
    workgroups: [x, y, z],
    cost: { flops: 40 * rows * spec.features, bytes: 12 * rows * spec.features },
  };
}

/** (B, M, C) × (B, N, C) → (B, M, N): the hypernetworks' weights applied to the upscaled embedding. */
export function planMaskProduct<T>(
  caps: Capabilities,
  spec: {
    readonly batch: number;
    readonly masks: number;
    readonly voxels: number;
    readonly channels: number;
  },
  buffers: { hyper: T; voxels: T; masks: T },
): KernelCall<T> {
  const groups = ceilDiv(spec.voxels, THREADS);
  const [x, y] = spread(groups, caps);
  return {
    kernel: 'mask_product',
    variant: 'register',
    shader: shader('mask_product', { M: spec.masks }),
    buffers,
    params: { voxels: spec.voxels, channels: spec.channels, grid_x: x },
    workgroups: [x, y, spec.batch],
    cost: {
      flops: 2 * spec.batch * spec.masks * spec.voxels * spec.channels,
      bytes: 4 * spec.batch * spec.voxels * (spec.channels + spec.masks),
    },
  };
}
