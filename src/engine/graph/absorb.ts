/** Products that read a transposed operand as it lies, where their kernel can: the transpositions are then dead. */
import type { Capabilities } from '../kernels/call.js';
import { takesTransposed } from '../kernels/matmul.js';
import { type Node, type NodeOf, sizeOf, type Tensor } from './ir.js';
import { storageOf } from './layout.js';

const last = (t: Tensor): number => t.shape[t.shape.length - 1];

type Product = NodeOf<'linear'> | NodeOf<'conv3d'> | NodeOf<'conv_transpose'>;
const isProduct = (node: Node): node is Product =>
  node.op === 'linear' || node.op === 'conv3d' || node.op === 'conv_transpose';

const kernels = { linear: 'matmul', conv3d: 'conv3d', conv_transpose: 'conv_transpose' } as const;

/** Rewrites products; the transpositions that nobody reads any more are the caller's to drop. */
export function absorbTransposes(nodes: readonly Node[], caps: Capabilities): Node[] {
  const producerOf = new Map(nodes.map((node) => [node.output.id, node]));
  /** The transposition that made a tensor, seen through reshapes, if its blocks are of 4 × 4. */
  const transposition = (tensor: Tensor): NodeOf<'transpose'> | undefined => {
    const node = producerOf.get(tensor.id);
    if (node?.op === 'reshape') return transposition(node.inputs.x);
    if (node?.op !== 'transpose') return undefined;
    const { rows, cols } = node.attrs;
    return rows % 4 === 0 && cols % 4 === 0 ? node : undefined;
  };
  return nodes.map((node) => {
    if (!isProduct(node) || node.region || !takesTransposed(caps, kernels[node.op])) return node;
    const { x, w } = node.inputs;
    const inner = last(x);
    const n = last(node.output);
    if (inner % 4 !== 0 || n % 4 !== 0) return node;
    const byX = node.op === 'linear' ? transposition(x) : undefined;
    const byW = transposition(w);
    const fromX = byX?.attrs.batch === 1 && byX.attrs.rows === inner ? byX : undefined;
    // A texture is read texel by texel along its own rows.
    const fitsW = byW && byW.attrs.cols === (byW.attrs.batch > 1 ? inner : sizeOf(w.shape) / byW.attrs.rows);
    const fromW = fitsW && storageOf(byW.inputs.x, caps) === 'f32' ? byW : undefined;
    if (!fromX && !fromW) return node;
    const inputs = { ...node.inputs, x: fromX?.inputs.x ?? x, w: fromW?.inputs.x ?? w };
    const transposed = { x: fromX !== undefined, w: fromW && layoutOf(fromW, inner) };
    return { ...node, inputs, attrs: { ...node.attrs, transposed } } as Node;
  });
}

/** Where element (tap, i, column) of what `node` would have made lies in its operand, `inner` elements i to a tap. */
function layoutOf({ attrs: { batch, rows, cols, flip } }: NodeOf<'transpose'>, inner: number) {
  // A batch is of taps, flipped: the last one first. Else taps follow one another within a column.
  return batch > 1
    ? {
        first: flip ? (batch - 1) * rows * cols : 0,
        tapStride: (flip ? -1 : 1) * rows * cols,
        columnStride: cols,
      }
    : { first: 0, tapStride: inner, columnStride: cols };
}
