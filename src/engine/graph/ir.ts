/**
 * The intermediate representation: tensors and operations as data. A model function builds a graph once for
 * given shapes; fusing, planning, differentiating and executing are transforms of it.
 *
 * Layouts: tokens and volumes are channels-last (B, D, H, W, C); parameters are in the engine's layout (layout.ts).
 */
import type { Activation } from '../kernels/activation.js';
import type { KernelCall } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import type { Graph } from './graph.js';
import type { ParameterSpec } from './layout.js';

/** What an element is. */
export type DType = 'f32' | 'u32';
/** Lengths of the axes; channels last. */
export type Shape = readonly number[];
/** Depth, height and width. */
export type Size3 = readonly [number, number, number];

/** A value of a graph, known by its shape: what operations take and make. */
export interface Tensor {
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly kind: 'input' | 'parameter' | 'value';
  /** An input's or parameter's name; the stage that made a value. */
  readonly name: string;
  readonly parameter?: ParameterSpec;
  /** The graph that it is of. */
  readonly graph: Graph;
}

/**
 * A run of nodes under a gate's decision: executed for the samples it opened, and not at all when it opened none.
 * The node that decides has it among its attributes, and its kernel writes the region's control block (region.wgsl).
 */
export interface Region {
  readonly id: number;
  readonly name: string;
  readonly samples: number;
  /** Gates per sample: what the region's gate decides about one by one. */
  readonly channels: number;
  /** Parts of the region that one dispatch computes side by side for the gate's list of (sample, branch); 0 for none. */
  readonly branches: number;
  /** The gates are the branches': a closed one's is not on that list. Otherwise all of an open sample's are. */
  readonly perBranch: boolean;
}

/** Buffers that belong to a region or the program rather than to a tensor. */
export interface Auxiliary {
  readonly aux: 'decision' | 'control' | 'plan' | 'counters';
  readonly region: Region;
}
/** What a dispatch binds. */
export type Operand = Tensor | Auxiliary;

/** A result written into columns of a wider tensor instead of one of its own. */
export interface Placement {
  readonly target: Tensor;
  readonly offset: number;
}

/** A node's operands by name; type literals, of which some may be absent. */
export type Operands = Readonly<Record<string, Tensor | undefined>>;

/** An operation in a graph: its operands, attributes and result. */
export interface Node<I extends Operands = Operands, A extends object = object> {
  readonly id: number;
  readonly op: Op<I, A>;
  readonly inputs: I;
  readonly attrs: A;
  readonly output: Tensor;
  /** Where in the model, in the checkpoint's names: `image_encoder.blocks.0.attn`. */
  readonly stage: string;
  readonly region?: Region;
}

/** Ends with an error that names stage and operation. */
export type Fail = (what: string) => never;
/** Gradients by operand's name; an operand that is left out has none. */
export type Gradients = Readonly<Record<string, Tensor | undefined>>;
/** Whether an operand's gradient is needed. */
export type Wants = (operand: string) => boolean;
/** From the gradient of a node's result to those of its operands, as more nodes of the same graph. */
// A method's type: an operation of whatever operands is one of `Op`.
export type Rule<I extends Operands, A extends object> = {
  of(node: Node<I, A>, dy: Tensor, wants: Wants): Gradients;
}['of'];

/** What a node is lowered with. */
export interface Lowering {
  readonly caps: Capabilities;
  /** The index that its first dispatch has in the program. */
  readonly counter: number;
  /** How many dispatches a region has (known once its nodes are lowered: only what decides asks). */
  dispatches(region: Region): number;
}

/** A planned graph as a rewrite sees it. */
export interface Surroundings {
  readonly caps: Capabilities;
  readonly nodes: readonly Node[];
  producerOf(tensor: Tensor): Node | undefined;
}

/** A node that took others into it: what becomes of the producers of its operands, and what is left of itself. */
export interface Fusion {
  readonly producers: ReadonlyMap<Tensor, Node | undefined>;
  readonly node: Node;
}

/**
 * An operation: everything that the engine has to know of it. `defineOp` (op.ts) makes it known; nothing else lists operations.
 * Its cost is its dispatches' (`KernelCall.cost`).
 */
export interface Op<I extends Operands = Operands, A extends object = object> {
  readonly name: string;
  /** The result's shape; fails where operands do not fit. */
  shape(inputs: I, attrs: A, fail: Fail): Shape;
  /** The result's type; f32 unless given. */
  readonly dtype?: DType;
  /** The dispatches that compute it, none for a view. */
  lower(node: Node<I, A>, on: Lowering): KernelCall<Operand> | readonly KernelCall<Operand>[];
  /** null: it has none, and a graph that wants one through it is an error. */
  readonly gradient: Rule<I, A> | null;
  /**
   * May stand inside a region: its kernel runs for open samples alone, or works element by element (right for every sample, and
   * skipped when none is open). Others use the dispatch's z as the sample itself.
   */
  readonly regional?: boolean;
  /** The region that it decides about. */
  decides?(node: Node<I, A>): Region;
  /** The tensor in whose memory the result lies, if not in its own. */
  memory?(node: Node<I, A>): Tensor | undefined;
  /** The operand that it writes its result over, and what keeps that where it is wanted again. */
  readonly overwrites?: { readonly operand: string; readonly copy: Op<{ x: Tensor }, Record<string, never>> };
  /** Before fusing: what stands in its place. Nodes of the graph that are among it move there. */
  rewrite?(node: Node<I, A>, around: Surroundings): readonly Node[];
  /**
   * What the kernel's epilogue takes over from the nodes after it: the attributes or operands it then has, or undefined where it
   * cannot (it has one already).
   */
  readonly epilogue?: {
    activation?(node: Node<I, A>, activation: Activation): A | undefined;
    residual?(node: Node<I, A>, other: Tensor): I | undefined;
    place?(node: Node<I, A>, placement: Placement): A | undefined;
  };
  /** Moves itself into the epilogues of what makes its operands; `sole` gives a producer whose result nobody else wants. */
  fuse?(node: Node<I, A>, sole: (tensor: Tensor) => Node | undefined): Fusion | undefined;
}

/** Elements of a shape. */
export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);
export const bytesOf = (tensor: Tensor): number => 4 * sizeOf(tensor.shape);
export const describe = (tensor: Tensor): string => `${tensor.name} (${tensor.shape.join(', ')})`;
/** Length of the last axis. */
export const last = (tensor: Tensor): number => tensor.shape[tensor.shape.length - 1];
/** (D, H, W) of a channels-last volume (B, D, H, W, C). */
export const gridOf = (tensor: Tensor): Size3 => [tensor.shape[1], tensor.shape[2], tensor.shape[3]];
/** The last three axes. */
export const planesOf = (tensor: Tensor): Size3 => tensor.shape.slice(-3) as [number, number, number];

/** A node's operands, without the optional ones that are absent. */
export function operands(node: Node): Tensor[] {
  return Object.values(node.inputs).filter((t): t is Tensor => t !== undefined);
}

/** Whether a node is of this operation; its operands and attributes then have types. */
export const isOp = <I extends Operands, A extends object>(
  node: Node | undefined,
  op: Op<I, A>,
): node is Node<I, A> => node?.op === (op as Op);
