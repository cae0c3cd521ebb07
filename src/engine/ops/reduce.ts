/** Reductions: means over tokens, sums over rows, and the count of what is no number. */
import columnSumShader from '../../../shaders/column_sum.wgsl';
import columnSumColumns from '../../../shaders/column_sum_columns.wgsl';
import countNonfiniteShader from '../../../shaders/count_nonfinite.wgsl';
import meanTokensShader from '../../../shaders/mean_tokens.wgsl';
import { describe, last, type Shape, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, spread, THREADS } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';

const meanTokensOp = defineOp<{ x: Tensor }>({
  name: 'mean_tokens',
  shape({ x }, _, fail) {
    if (x.shape.length < 2) fail(`${describe(x)} is not (B, …, C)`);
    return [x.shape[0], last(x)];
  },
  lower({ inputs: { x }, output: y }) {
    const [batch, channels] = y.shape;
    const tokens = sizeOf(x.shape) / batch / channels;
    return {
      kernel: 'mean_tokens',
      variant: 'shared',
      shader: shader(meanTokensShader),
      buffers: { x, y },
      params: { tokens, channels, grid_x: 0 },
      workgroups: [ceilDiv(channels, 16), batch, 1],
      cost: { flops: batch * tokens * channels, bytes: 4 * batch * tokens * channels },
    };
  },
  gradient: ({ inputs: { x } }, dy) => ({ x: apply(meanTokensBackwardOp, { dy }, { shape: x.shape }) }),
});

/** (B, C) / tokens, repeated over the tokens → `shape` (B, …, C). */
const meanTokensBackwardOp = defineOp<{ dy: Tensor }, { shape: Shape }>({
  name: 'mean_tokens_backward',
  shape: (_, { shape }) => shape,
  lower({ inputs: { dy }, output: y }, { caps }) {
    const [batch, channels] = dy.shape;
    const tokens = sizeOf(y.shape) / batch / channels;
    const [gx, gy] = spread(ceilDiv(tokens * channels, THREADS), caps);
    return {
      kernel: 'mean_tokens_backward',
      variant: 'scalar',
      shader: shader(meanTokensShader, { BACKWARD: true }),
      buffers: { x: dy, y },
      params: { tokens, channels, grid_x: gx },
      workgroups: [gx, gy, batch],
      cost: { flops: batch * tokens * channels, bytes: 4 * batch * tokens * channels },
    };
  },
  gradient: null,
});

const sumVariants = plainVariants(['column_sum'], ['columns', 'shared']);

const columnSumOp = defineOp<
  { x: Tensor; other?: Tensor | undefined },
  { batch: number; rows: number; columns: number; shape: Shape }
>({
  name: 'column_sum',
  shape: (_, { shape }) => shape,
  lower({ inputs: { x, other }, attrs: { batch, rows, columns }, output: y }, { caps }) {
    const candidates = columns % 4 === 0 ? (['columns', 'shared'] as const) : (['shared'] as const);
    const shape = `${batch}x${rows}x${columns}${other ? ' product' : ''}`;
    const usual = caps.software ? candidates[0] : 'shared';
    const { kind, call } = sumVariants.choose(caps, 'column_sum', shape, usual, candidates);
    const byColumns = kind === 'columns';
    return {
      ...call,
      shader: shader(byColumns ? columnSumColumns : columnSumShader, { PRODUCT: other !== undefined }),
      buffers: { x, y, ...(other ? { other } : {}) },
      params: { rows, columns: byColumns ? columns / 4 : columns },
      workgroups: [byColumns ? ceilDiv(columns, 32) : ceilDiv(columns, 16), batch, 1],
      cost: { flops: 2 * batch * rows * columns, bytes: 4 * batch * rows * columns },
    };
  },
  gradient: null,
});

const countNonfiniteOp = defineOp<{ x: Tensor }, { most: number }>({
  name: 'count_nonfinite',
  dtype: 'u32',
  shape: () => [2],
  lower({ inputs: { x }, attrs: { most }, output: result }) {
    const count = sizeOf(x.shape);
    return {
      kernel: 'count_nonfinite',
      variant: 'shared',
      shader: shader(countNonfiniteShader),
      buffers: { x, result },
      params: { count, most },
      workgroups: [1, 1, 1],
      cost: { flops: 0, bytes: 4 * count },
    };
  },
  gradient: null,
});

/** (B, …, C) → (B, C), the mean over everything between. */
export const meanTokens = (x: Tensor): Tensor => apply(meanTokensOp, { x }, {});

/**
 * Σ over the rows of x, seen as (batch, rows, columns), times `other` if given.
 * @returns (columns), or `shape` of as many elements for every one of a batch
 */
export function columnSum(
  x: Tensor,
  columns: number,
  { other, batch = 1, shape = [columns] }: { other?: Tensor; batch?: number; shape?: Shape } = {},
): Tensor {
  const rows = sizeOf(x.shape) / batch / columns;
  return apply(columnSumOp, { x, other }, { batch, rows, columns, shape });
}

/** → (2) u32: how many elements are NaN or beyond `most` in magnitude, and the first one's index + 1. */
export const countNonfinite = (x: Tensor, most: number): Tensor => apply(countNonfiniteOp, { x }, { most });
