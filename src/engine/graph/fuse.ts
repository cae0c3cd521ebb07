/**
 * Rewrites before planning: dead nodes go, activations and residuals move into the kernel that makes their
 * operand, concatenations of such results are written in place, and overwriting is made safe. What may move where is each
 * operation's own to say (`Op.rewrite`, `Op.fuse`, `Op.epilogue`).
 *
 * A training graph needs most intermediate values again; they then have several consumers and stay as they are.
 */
import type { Capabilities } from '../kernels/capabilities.js';
import { type Node, operands, type Tensor } from './ir.js';

/** How often each tensor is used, outputs of the graph counted as a use. */
function countUses(nodes: readonly Node[], outputs: Iterable<Tensor>): Map<number, number> {
  const uses = new Map<number, number>();
  const use = (t: Tensor) => uses.set(t.id, (uses.get(t.id) ?? 0) + 1);
  for (const node of nodes) operands(node).forEach(use);
  for (const tensor of outputs) use(tensor);
  return uses;
}

/** The nodes that the outputs depend on, in order. */
export function reachable(nodes: readonly Node[], outputs: Iterable<Tensor>): Node[] {
  const needed = new Set<number>();
  for (const tensor of outputs) needed.add(tensor.id);
  const kept: Node[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    // A gate decides for its region even where nobody reads its logits.
    const region = node.op.decides?.(node);
    const decides = region !== undefined && kept.some((n) => n.region === region);
    if (!needed.has(node.output.id) && !decides) continue;
    for (const tensor of operands(node)) needed.add(tensor.id);
    kept.push(node);
  }
  return kept.reverse();
}

/** Each node as its operation rewrites it for this device. What nobody reads any more is the caller's to drop. */
export function rewrite(nodes: readonly Node[], caps: Capabilities): Node[] {
  const producers = new Map(nodes.map((node) => [node.output.id, node]));
  const around = { caps, nodes, producerOf: (tensor: Tensor) => producers.get(tensor.id) };
  const moved = new Set<Node>();
  return nodes.flatMap((node): readonly Node[] => {
    if (moved.has(node)) return [];
    const instead = node.op.rewrite?.(node, around) ?? [node];
    // What comes along from further down moves here, once.
    if (instead.some((one) => moved.has(one))) return [node];
    for (const one of instead) if (one !== node && producers.get(one.output.id) === one) moved.add(one);
    return instead;
  });
}

/** Fuses epilogues and places concatenations. Nodes keep their order; a fused one stands where the last of it stood. */
export function fuse(nodes: readonly Node[], outputs: readonly Tensor[]): Node[] {
  const uses = countUses(nodes, outputs);
  const result: (Node | undefined)[] = [];
  const producerOf = new Map<number, number>();
  for (const node of nodes) {
    /** The producer of `tensor`, if it is in the same region and nobody else wants its result. */
    const sole = (tensor: Tensor): Node | undefined => {
      const at = producerOf.get(tensor.id);
      const producer = at === undefined ? undefined : result[at];
      return producer && uses.get(tensor.id) === 1 && producer.region === node.region ? producer : undefined;
    };
    const fusion = node.op.fuse?.(node, sole);
    for (const [tensor, producer] of fusion?.producers ?? [])
      result[producerOf.get(tensor.id) as number] = producer;
    const left = fusion?.node ?? node;
    producerOf.set(left.output.id, result.length);
    result.push(left);
  }
  return result.filter((node): node is Node => node !== undefined);
}

/** Which tensors share memory: `root(t)` is the tensor whose buffer t lives in. */
export function aliases(nodes: readonly Node[]): (tensor: Tensor) => Tensor {
  const parent = new Map<number, Tensor>();
  for (const node of nodes) {
    const { op, inputs, output } = node;
    const memory = op.overwrites ? inputs[op.overwrites.operand] : op.memory?.(node);
    if (memory) parent.set(output.id, memory);
  }
  return (tensor) => {
    let t = tensor;
    for (let up = parent.get(t.id); up; up = parent.get(t.id)) t = up;
    return t;
  };
}

/**
 * Before an overwriting node whose operand is wanted again (later nodes, outputs, inputs of the graph), inserts a copy.
 * The copy is unconditional: with the gate closed, the result is that copy.
 */
export function copyBeforeOverwriting(
  nodes: readonly Node[],
  outputs: readonly Tensor[],
  nextId: () => number,
): Node[] {
  return nodes.flatMap((node, i): Node[] => {
    const { overwrites } = node.op;
    if (!overwrites) return [node];
    const { operand, copy } = overwrites;
    const x = node.inputs[operand] as Tensor;
    // Views of x by reshaping or placing; what overwrites gives another value, though it may lie in x's memory.
    const view = aliases(nodes.filter((n) => !n.op.overwrites));
    const root = view(x);
    const isX = (t: Tensor) => view(t).id === root.id;
    const wanted =
      root.kind !== 'value' ||
      outputs.some(isX) ||
      nodes.slice(i + 1).some((later) => operands(later).some(isX));
    if (!wanted) return [node];
    const output: Tensor = { ...x, id: nextId(), kind: 'value', name: `${node.stage} (copy)` };
    const kept = { id: nextId(), op: copy, inputs: { x }, attrs: {}, output, stage: node.stage };
    return [kept as unknown as Node, { ...node, inputs: { ...node.inputs, [operand]: output } }];
  });
}
