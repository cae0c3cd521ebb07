/**
 * Products of two tensors' matrices, batch by batch. Not the matmul family's: that one's second operand is one matrix for all
 * rows, held as weights are.
 */
import bmmShader from '../../../shaders/bmm.wgsl';
import { describe, last, sizeOf, type Tensor } from '../graph/ir.js';
import { apply, defineOp } from '../graph/op.js';
import { ceilDiv, spread, THREADS } from '../kernels/call.js';
import { plainVariants } from '../kernels/variants.js';
import { shader } from '../kernels/wgsl.js';

/** Which operands are given as they lie before a transposition of their matrices. */
export interface BatchTransposed {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const variants = plainVariants(['bmm'], ['register', 'tiled']);
/** Elements of the result along each side of what a workgroup (tiled) or an invocation takes. */
const TILE = 32;
const BLOCK = 4;

/** The last two axes, after the transposition. */
function matrixOf({ shape }: Tensor, transposed: boolean | undefined): readonly [number, number] {
  const [rows, columns] = shape.slice(-2);
  return transposed ? [columns, rows] : [rows, columns];
}

const bmmOp = defineOp<{ a: Tensor; b: Tensor }, BatchTransposed>({
  name: 'bmm',
  shape({ a, b }, { transposeA, transposeB }, fail) {
    const lead = a.shape.slice(0, -2);
    const [m, k] = matrixOf(a, transposeA);
    const [length, n] = matrixOf(b, transposeB);
    const turned = (is: boolean | undefined) => (is ? ', transposed,' : '');
    if (a.shape.length < 2 || lead.join() !== b.shape.slice(0, -2).join() || k !== length)
      fail(`${describe(a)}${turned(transposeA)} does not fit ${describe(b)}${turned(transposeB)}`);
    return [...lead, m, n];
  },
  lower({ inputs: { a, b }, attrs: { transposeA, transposeB }, output: y }, { caps }) {
    const [m, k] = matrixOf(a, transposeA);
    const n = last(y);
    const batch = sizeOf(y.shape) / (m * n);
    const turned = `${transposeA ? ' Aᵀ' : ''}${transposeB ? ' Bᵀ' : ''}`;
    const usual = caps.software ? 'register' : 'tiled';
    const { kind, call } = variants.choose(caps, 'bmm', `${batch}x${m}x${k}x${n}${turned}`, usual);
    const tiled = kind === 'tiled';
    const edge = tiled ? TILE : BLOCK;
    const count = batch * ceilDiv(m, edge) * ceilDiv(n, edge);
    const workgroups = spread(tiled ? count : ceilDiv(count, THREADS), caps);
    return {
      ...call,
      shader: shader(bmmShader, {
        TILED: tiled,
        // What only the tiled one asks would make two texts of the other.
        A_TRANSPOSED: tiled && transposeA === true,
        B_TRANSPOSED: tiled && transposeB === true,
      }),
      buffers: { a, b, y },
      params: {
        m,
        n,
        k,
        a_row: transposeA ? 1 : k,
        a_step: transposeA ? m : 1,
        b_step: transposeB ? 1 : n,
        b_column: transposeB ? k : 1,
        count,
        grid_x: workgroups[0],
      },
      workgroups,
      cost: { flops: 2 * batch * m * n * k, bytes: 4 * batch * (m * k + k * n + m * n) },
    };
  },
  gradient({ inputs: { a, b }, attrs: { transposeA = false, transposeB = false } }, dy, wants) {
    const ofA = () =>
      transposeA
        ? bmm(b, dy, { transposeA: transposeB, transposeB: true })
        : bmm(dy, b, { transposeB: !transposeB });
    const ofB = () =>
      transposeB
        ? bmm(dy, a, { transposeA: true, transposeB: transposeA })
        : bmm(a, dy, { transposeA: !transposeA });
    return { a: wants('a') ? ofA() : undefined, b: wants('b') ? ofB() : undefined };
  },
});

/**
 * a · b for every matrix of a batch: a (…, M, K), b (…, K, N) → (…, M, N), the leading axes being the same.
 * With `transposeA` a is (…, K, M), with `transposeB` b is (…, N, K).
 */
export const bmm = (a: Tensor, b: Tensor, transposed: BatchTransposed = {}): Tensor =>
  apply(bmmOp, { a, b }, transposed);
