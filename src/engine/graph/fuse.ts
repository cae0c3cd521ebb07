/**
 * Rewrites before planning: dead nodes go, activations and residuals move into the kernel that makes their
 * operand, concatenations of such results are written in place, and overwriting is made safe.
 *
 * A training graph needs most intermediate values again; they then have several consumers and stay as they are.
 */
import { type Node, type NodeOf, operands, type Region, sizeOf, type Tensor } from './ir.js';

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
    const decides = node.op === 'gate' && kept.some((n) => n.region === node.attrs.region);
    if (!needed.has(node.output.id) && !decides) continue;
    for (const tensor of operands(node)) needed.add(tensor.id);
    kept.push(node);
  }
  return kept.reverse();
}

type Matmul = NodeOf<'linear'> | NodeOf<'conv3d'>;
const isMatmul = (node: Node | undefined): node is Matmul => node?.op === 'linear' || node?.op === 'conv3d';

/** Nodes whose kernel has an epilogue, with nothing in it yet. */
function takesActivation(
  node: Node | undefined,
): node is Matmul | NodeOf<'conv_transpose'> | NodeOf<'layer_norm'> | NodeOf<'add'> {
  switch (node?.op) {
    case 'linear':
    case 'conv3d':
      return node.attrs.activation === 'none' && node.inputs.residual === undefined;
    case 'conv_transpose':
    case 'layer_norm':
    case 'add':
      return node.attrs.activation === 'none';
    default:
      return false;
  }
}

/** Whether `other` can be the residual of `node`: whole rows of it, repeating. */
function fitsAsResidual(node: Matmul, other: Tensor): boolean {
  const { shape } = node.output;
  const n = shape[shape.length - 1];
  return other.shape[other.shape.length - 1] === n && sizeOf(shape) % sizeOf(other.shape) === 0;
}

/** Fuses epilogues and places concatenations. Nodes keep their order; a fused one stands where the last of it stood. */
export function fuse(nodes: readonly Node[], outputs: readonly Tensor[]): Node[] {
  const uses = countUses(nodes, outputs);
  const result: (Node | undefined)[] = [];
  const producerOf = new Map<number, number>();
  /** The producer of `tensor`, if it is in the same region and nobody else wants its result. */
  const soleProducer = (tensor: Tensor, region: Region | undefined): Node | undefined => {
    const at = producerOf.get(tensor.id);
    const node = at === undefined ? undefined : result[at];
    return node && uses.get(tensor.id) === 1 && node.region === region ? node : undefined;
  };
  const push = (node: Node) => {
    producerOf.set(node.output.id, result.length);
    result.push(node);
  };
  const replace = (old: Tensor, node: Node) => {
    result[producerOf.get(old.id) as number] = undefined;
    push(node);
  };

  for (const node of nodes) {
    if (node.op === 'activation') {
      const producer = soleProducer(node.inputs.x, node.region);
      if (takesActivation(producer)) {
        const attrs = { ...producer.attrs, activation: node.attrs.activation };
        replace(node.inputs.x, { ...producer, attrs, output: node.output } as Node);
        continue;
      }
    } else if (node.op === 'add' && node.attrs.activation === 'none') {
      const { x, other } = node.inputs;
      const sameShape = x.shape.join() === other.shape.join();
      const choices: [Tensor, Tensor][] = sameShape
        ? [
            [x, other],
            [other, x],
          ]
        : [[x, other]];
      const found = choices
        .map(([sum, residual]) => ({ sum, residual, producer: soleProducer(sum, node.region) }))
        .find(({ producer, residual }) => {
          return (
            isMatmul(producer) &&
            !producer.inputs.residual &&
            !producer.attrs.into &&
            fitsAsResidual(producer, residual)
          );
        });
      if (found) {
        const { producer, residual, sum } = found;
        const inputs = { ...(producer as Matmul).inputs, residual };
        replace(sum, { ...(producer as Matmul), inputs, output: node.output } as Node);
        continue;
      }
    } else if (node.op === 'concat' && node.attrs.axis === node.output.shape.length - 1) {
      const parts = Object.values(node.inputs);
      const producers = parts.map((t) => soleProducer(t, node.region));
      const placeable = producers.every((p) => isMatmul(p) && !p.inputs.residual && !p.attrs.into);
      if (placeable && new Set(parts.map((t) => t.id)).size === parts.length) {
        let offset = 0;
        producers.forEach((producer, i) => {
          const at = producerOf.get(parts[i].id) as number;
          const into = { target: node.output, offset };
          result[at] = { ...(producer as Matmul), attrs: { ...(producer as Matmul).attrs, into } } as Node;
          offset += parts[i].shape[parts[i].shape.length - 1];
        });
        push({ ...node, attrs: { ...node.attrs, placed: true } });
        continue;
      }
    }
    push(node);
  }
  return result.filter((node): node is Node => node !== undefined);
}

/**
 * Attention whose weights are wanted as well (by its backward pass) is computed from them: `attention` becomes their product
 * with the values, and the weights move before it.
 */
export function shareAttentionWeights(nodes: readonly Node[]): Node[] {
  const weights = nodes.filter((node) => node.op === 'attention_weights');
  const moved = new Set<Node>();
  const result = nodes.flatMap((node): Node[] => {
    if (moved.has(node)) return [];
    if (node.op !== 'attention') return [node];
    const { q, k, v } = node.inputs;
    const found = weights.find(
      ({ inputs, attrs }) => inputs.q === q && inputs.k === k && attrs.heads === node.attrs.heads,
    );
    if (!found || moved.has(found)) return [node];
    moved.add(found);
    const apply = {
      ...node,
      op: 'attention_apply',
      inputs: { m: found.output, x: v },
      attrs: { transposed: false },
    };
    return [found, apply as Node];
  });
  return result;
}

/**
 * Which tensors share memory: `root(t)` is the tensor whose buffer t lives in. Reshapes are their operand, parts
 * of a placed concatenation lie in it, and the SGPM's result overwrites its x.
 */
export function aliases(nodes: readonly Node[]): (tensor: Tensor) => Tensor {
  const parent = new Map<number, Tensor>();
  for (const node of nodes) {
    if (node.op === 'reshape') parent.set(node.output.id, node.inputs.x);
    else if (node.op === 'sgpm_project') parent.set(node.output.id, node.inputs.x);
    else if (isMatmul(node) && node.attrs.into) parent.set(node.output.id, node.attrs.into.target);
  }
  return (tensor) => {
    let t = tensor;
    for (let up = parent.get(t.id); up; up = parent.get(t.id)) t = up;
    return t;
  };
}

/**
 * Before an overwriting node whose x is wanted again (later nodes, outputs, inputs of the graph), inserts a copy.
 * The copy is unconditional: with the gate closed, the result is that copy.
 */
export function copyBeforeOverwriting(
  nodes: readonly Node[],
  outputs: readonly Tensor[],
  nextId: () => number,
): Node[] {
  const result: Node[] = [];
  nodes.forEach((node, i) => {
    if (node.op !== 'sgpm_project') {
      result.push(node);
      return;
    }
    const { x } = node.inputs;
    // Views of x by reshaping or placing; a module's result is another value, though it may lie in x's memory.
    const view = aliases(nodes.filter((n) => n.op !== 'sgpm_project'));
    const root = view(x);
    const isX = (t: Tensor) => view(t).id === root.id;
    const wanted =
      root.kind !== 'value' ||
      outputs.some(isX) ||
      nodes.slice(i + 1).some((later) => operands(later).some(isX));
    if (!wanted) {
      result.push(node);
      return;
    }
    const output: Tensor = { ...x, id: nextId(), kind: 'value', name: `${node.stage} (copy)` };
    result.push({ id: nextId(), op: 'copy', inputs: { x }, attrs: {}, output, stage: node.stage });
    result.push({ ...node, inputs: { ...node.inputs, x: output } });
  });
  return result;
}
