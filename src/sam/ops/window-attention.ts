/** The encoder blocks' attention with relative position (SPEC A1), windowed or global, and its gradients. */
import { describe, gridOf, last, type Shape, type Tensor } from '../../engine/graph/ir.js';
import { apply, defineOp, needLength } from '../../engine/graph/op.js';
import {
  planAttentionBias,
  planAttentionKeys,
  planAttentionRows,
  planAttentionTables,
  recordShape,
} from './window-attention-backward.js';
import type { WindowAttentionSpec } from './window-attention-geometry.js';
import { planWindowAttention } from './window-attention-plan.js';

type Tables = { tableD: Tensor; tableH: Tensor; tableW: Tensor };
type Attrs = { heads: number; window: number };

const specOf = (qkv: Tensor, { heads, window }: Attrs): WindowAttentionSpec => ({
  batch: qkv.shape[0],
  heads,
  headDim: last(qkv) / 3 / heads,
  grid: gridOf(qkv),
  window,
});

const windowAttentionOp = defineOp<{ qkv: Tensor; qkvBias: Tensor } & Tables, Attrs>({
  name: 'window_attention',
  shape({ qkv, qkvBias, ...tables }, { heads, window }, fail) {
    if (qkv.shape.length !== 5 || qkv.shape[4] % (3 * heads) !== 0)
      fail(`${describe(qkv)} is not (B, D, H, W, 3·C) for ${heads} heads`);
    const width = qkv.shape[4] / 3;
    needLength(fail, 'bias', qkvBias, 3 * width);
    const [d, h, w] = gridOf(qkv);
    if (window === 0 && (d !== h || h !== w)) fail(`a global block needs a cubic grid, not ${d}×${h}×${w}`);
    const edge = window > 0 ? window : d;
    for (const table of Object.values(tables))
      needLength(fail, `relative positions for edge ${edge}`, table, (2 * edge - 1) * (width / heads));
    return [...qkv.shape.slice(0, 4), width];
  },
  lower: ({ inputs, attrs, output: out }, { caps }) =>
    planWindowAttention(caps, specOf(inputs.qkv, attrs), { ...inputs, out }),
  gradient({ inputs, attrs, output: attended }, dout, wants) {
    const { qkv, qkvBias } = inputs;
    const record = apply(rowsOp, { ...inputs, attended, dout }, attrs);
    const table = (name: keyof Tables, axis: 0 | 1 | 2) =>
      wants(name)
        ? apply(tablesOp, { record, qkv, qkvBias }, { ...attrs, axis, shape: inputs[name].shape })
        : undefined;
    return {
      qkv: wants('qkv') ? apply(keysOp, { qkv, dout, record }, attrs) : undefined,
      qkvBias: wants('qkvBias') ? apply(biasOp, { record, qkv }, attrs) : undefined,
      tableD: table('tableD', 0),
      tableH: table('tableH', 1),
      tableW: table('tableW', 2),
    };
  },
});

/** First pass of the gradient: records of every row and head (attention_backward_common.wgsl). */
const rowsOp = defineOp<{ qkv: Tensor; qkvBias: Tensor; attended: Tensor; dout: Tensor } & Tables, Attrs>({
  name: 'window_attention_rows',
  shape: ({ qkv }, attrs) => recordShape(specOf(qkv, attrs)),
  lower: ({ inputs, attrs, output: record }, { caps }) =>
    planAttentionRows(caps, specOf(inputs.qkv, attrs), { ...inputs, record }),
  gradient: null,
});

const keysOp = defineOp<{ qkv: Tensor; dout: Tensor; record: Tensor }, Attrs>({
  name: 'window_attention_keys',
  shape: ({ qkv }) => qkv.shape,
  lower: ({ inputs, attrs, output: dqkv }, { caps }) =>
    planAttentionKeys(caps, specOf(inputs.qkv, attrs), { ...inputs, dqkv }),
  gradient: null,
});

const tablesOp = defineOp<
  { record: Tensor; qkv: Tensor; qkvBias: Tensor },
  Attrs & { axis: 0 | 1 | 2; shape: Shape }
>({
  name: 'window_attention_tables',
  shape: (_, { shape }) => shape,
  lower: ({ inputs, attrs, output: y }, { caps }) =>
    planAttentionTables(caps, specOf(inputs.qkv, attrs), attrs.axis, { ...inputs, y }),
  gradient: null,
});

const biasOp = defineOp<{ record: Tensor; qkv: Tensor }, Attrs>({
  name: 'window_attention_bias',
  shape: ({ qkv }) => [last(qkv)],
  lower: ({ inputs: { record, qkv }, attrs, output: y }, { caps }) =>
    planAttentionBias(caps, specOf(qkv, attrs), { record, y }),
  gradient: null,
});

/**
 * An encoder block's attention, before `proj`: qkv (B, D, H, W, 3C) → (B, D, H, W, C).
 * @param tables relative positions along D, H and W, each (2L − 1, head dim)
 * @param window the window's edge, 0 for a global block
 */
export function windowAttention(
  qkv: Tensor,
  qkvBias: Tensor,
  tables: readonly [Tensor, Tensor, Tensor],
  heads: number,
  window: number,
): Tensor {
  const [tableD, tableH, tableW] = tables;
  return apply(windowAttentionOp, { qkv, qkvBias, tableD, tableH, tableW }, { heads, window });
}
