/** Operations become known here, and are put into graphs. */
import { SgpSamError } from '../../base/errors.js';
import {
  describe,
  type Fail,
  type Lowering,
  type Node,
  type Op,
  type Operand,
  type Operands,
  sizeOf,
  type Tensor,
} from './ir.js';

const known = new Map<string, Op>();

/** Every operation whose module was loaded, by name. */
export const operations: ReadonlyMap<string, Op> = known;

/**
 * Makes an operation known.
 * @throws SgpSamError `bad-graph` if there is another of that name
 */
export function defineOp<I extends Operands, A extends object = Record<string, never>>(
  op: Op<I, A>,
): Op<I, A> {
  if (known.has(op.name)) throw new SgpSamError('bad-graph', `there are two operations '${op.name}'`);
  known.set(op.name, op);
  return op;
}

/** Appends a node of `op` to its operands' graph: what every operation's function is written with. */
export function apply<I extends Operands, A extends object>(op: Op<I, A>, inputs: I, attrs: A): Tensor {
  const tensor = Object.values(inputs).find((t) => t !== undefined);
  if (!tensor) throw new SgpSamError('bad-graph', `${op.name}: of nothing`);
  return tensor.graph.emit(op, inputs, attrs);
}

/** Fails unless `tensor`, if given, has `length` elements. */
export function needLength(fail: Fail, what: string, tensor: Tensor | undefined, length: number): void {
  if (tensor && sizeOf(tensor.shape) !== length)
    fail(`${what} ${describe(tensor)} should have ${length} elements`);
}

/** What a kernel that can run inside a region is given there: fields for its planner and buffers; nothing elsewhere. */
export function regional(
  { region }: Node,
  { counter }: Lowering,
): {
  readonly samples: number;
  readonly spec: { readonly region?: { readonly samples: number; readonly counter: number } };
  readonly buffers: Readonly<Record<string, Operand>>;
} {
  if (!region) return { samples: 1, spec: {}, buffers: {} };
  return {
    samples: region.samples,
    spec: { region: { samples: region.samples, counter } },
    buffers: {
      control: { aux: 'control', region },
      counters: { aux: 'counters', region },
    },
  };
}
