/** The linear layer. */
import { describe, last, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp, needLength, regional } from '../graph/op.js';
import {
  absorbTransposes,
  type ProductAttrs,
  type ProductInputs,
  planMatmul,
  productEpilogue,
  productSpec,
} from './matmul.js';
import { columnSum } from './reduce.js';
import { reshape, transpose } from './shape.js';

const linearOp = defineOp<ProductInputs, ProductAttrs>({
  name: 'linear',
  regional: true,
  shape({ x, w, bias }, _, fail) {
    if (w.shape.length !== 2 || w.shape[0] !== last(x)) {
      // A parameter is written as PyTorch has it, and lies the other way round.
      const { parameter } = w;
      const given = parameter
        ? `, given as (${parameter.shape.join(', ')}) with layout '${parameter.layout}'`
        : '';
      fail(`${describe(x)} does not fit w (inputs, outputs) ${describe(w)}${given}`);
    }
    needLength(fail, 'bias', bias, w.shape[1]);
    return [...x.shape.slice(0, -1), w.shape[1]];
  },
  lower(node, on) {
    const { x, w, bias, residual } = node.inputs;
    const n = last(node.output);
    const { c, spec } = productSpec(node, on.caps);
    const inside = regional(node, on);
    return planMatmul(
      on.caps,
      {
        kernel: 'matmul',
        rows: sizeOf(node.output.shape) / n / inside.samples,
        n,
        k: sizeOf(w.shape) / n,
        ...spec,
        ...(residual ? { residualRows: sizeOf(residual.shape) / n } : {}),
        ...inside.spec,
      },
      { a: x, b: w, bias, residual, c, ...inside.buffers },
    );
  },
  gradient({ inputs: { x, w, bias } }, dy, wants) {
    const [k, n] = w.shape;
    return {
      x: wants('x') ? linear(dy, transpose(w, k, n, [n, k])) : undefined,
      w: wants('w') ? transposedProduct(asRows(x), asRows(dy)) : undefined,
      bias: bias && wants('bias') ? columnSum(dy, n) : undefined,
    };
  },
  memory: ({ attrs: { into } }) => into?.target,
  epilogue: productEpilogue,
  rewrite: (node, around) => absorbTransposes(node, around, { kernel: 'matmul', both: true }),
});

/** x (…, K), w (K, N) → (…, N). */
export const linear = (x: Tensor, w: Tensor, bias?: Tensor): Tensor =>
  apply(linearOp, { x, w, bias }, { activation: 'none' });

/** x viewed as (rows, C). */
export const asRows = (x: Tensor): Tensor => reshape(x, [sizeOf(x.shape) / last(x), last(x)]);

/** aᵀ · b for a (M, K), b (M, N): (K, N). */
export function transposedProduct(a: Tensor, b: Tensor): Tensor {
  const [m, k] = a.shape;
  return linear(transpose(a, m, k, [k, m]), b);
}
