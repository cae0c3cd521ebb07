/**
 * Gradient checkpointing as a transform of the graph (Chen et al. 2016, "Training deep nets with sublinear memory cost"):
 * of a segment of the forward pass only what leaves it is kept, and the rest is computed again right before its backward
 * needs it. The planner then frees the first computation's memory early; nothing else has to know.
 */
import type { Graph } from '../graph/graph.js';
import { type Node, operands, type Tensor } from '../graph/ir.js';

/**
 * Rewrites `graph` so that backward nodes read recomputed values.
 * @param forward how many of the graph's nodes, from the first, are the forward pass
 * @param segmentOf the segment that a forward node belongs to, or undefined for one whose result is kept
 */
export function recompute(
  graph: Graph,
  forward: number,
  segmentOf: (node: Node) => string | undefined,
): void {
  const first = graph.nodes.slice(0, forward);
  const later = graph.nodes.slice(forward);
  /** Node → segment, and output → node, of what may be computed again. */
  const segments = new Map<Node, string>();
  for (const node of first) {
    const segment = segmentOf(node);
    if (segment !== undefined) segments.set(node, segment);
  }
  // What another segment, or a node of none, reads is kept; so is what the caller reads.
  const kept = new Set([...graph.outputs.values()].map(({ id }) => id));
  const producerOf = new Map([...segments.keys()].map((node) => [node.output.id, node]));
  for (const node of first) {
    for (const { id } of operands(node)) {
      const producer = producerOf.get(id);
      if (producer && segments.get(producer) !== segments.get(node)) kept.add(id);
    }
  }
  const inner = (tensor: Tensor): Node | undefined =>
    kept.has(tensor.id) ? undefined : producerOf.get(tensor.id);

  const wanted = new Set<Node>();
  const want = (tensor: Tensor): void => {
    const node = inner(tensor);
    if (!node || wanted.has(node)) return;
    wanted.add(node);
    operands(node).forEach(want);
  };
  for (const node of later) operands(node).forEach(want);

  const again = new Map<number, Tensor>();
  const renewed = (node: Node): Node => ({
    ...node,
    inputs: Object.fromEntries(
      Object.entries(node.inputs).map(([name, tensor]) => [name, tensor && (again.get(tensor.id) ?? tensor)]),
    ),
  });
  const done = new Set<string>();
  const result: Node[] = [...first];
  for (const node of later) {
    for (const tensor of operands(node)) {
      const segment = segments.get(inner(tensor) as Node);
      if (segment === undefined || done.has(segment)) continue;
      done.add(segment);
      for (const original of first) {
        if (!wanted.has(original) || segments.get(original) !== segment) continue;
        const output = { ...original.output, id: graph.newId(), name: `${original.output.name} (again)` };
        const copy = { ...renewed(original), id: graph.newId(), output, stage: `${original.stage} (again)` };
        again.set(original.output.id, output);
        result.push(copy);
      }
    }
    result.push(renewed(node));
  }
  graph.replaceNodes(result);
}
