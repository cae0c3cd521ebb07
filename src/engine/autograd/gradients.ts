/** Reverse-mode differentiation as a transform of the graph: backward nodes are appended to it. */
import { SgpSamError } from '../../base/errors.js';
import { aliases } from '../graph/fuse.js';
import type { Graph } from '../graph/graph.js';
import { type Node, operands, sizeOf, type Tensor } from '../graph/ir.js';
import { add } from '../ops/elementwise.js';
import { copy, reshape } from '../ops/shape.js';

/** The tensors that some of `wanted` flow into, `wanted` themselves included. */
function dependents(nodes: readonly Node[], wanted: readonly Tensor[]): Set<number> {
  const found = new Set(wanted.map((t) => t.id));
  for (const node of nodes) {
    if (operands(node).some((t) => found.has(t.id))) found.add(node.output.id);
  }
  return found;
}

/**
 * Appends to `graph` what computes the gradients of `wanted`, given the gradient of a scalar with respect to
 * `seeds` (vector–Jacobian products, accumulated in the reverse order of the nodes: deterministic).
 * @returns the gradient of each of `wanted` that the seeds depend on; the others are absent
 * @throws SgpSamError `bad-graph` naming an operation on the way that has no rule
 */
export function gradients(
  graph: Graph,
  seeds: ReadonlyMap<Tensor, Tensor>,
  wanted: readonly Tensor[],
): Map<Tensor, Tensor> {
  const nodes = [...graph.nodes];
  const flows = dependents(nodes, wanted);
  const gradientOf = new Map<number, Tensor>();
  const accumulate = (tensor: Tensor, gradient: Tensor) => {
    if (tensor.shape.join() !== gradient.shape.join()) {
      throw new SgpSamError(
        'bad-graph',
        `${gradient.name}: a gradient (${gradient.shape.join(', ')}) for ${tensor.name} (${tensor.shape.join(', ')})`,
      );
    }
    const sofar = gradientOf.get(tensor.id);
    gradientOf.set(tensor.id, sofar ? add(sofar, gradient) : gradient);
  };
  for (const [tensor, gradient] of seeds) {
    if (sizeOf(tensor.shape) !== sizeOf(gradient.shape)) {
      throw new SgpSamError(
        'bad-graph',
        `the seed (${gradient.shape.join(', ')}) does not fit ${tensor.name} (${tensor.shape.join(', ')})`,
      );
    }
    accumulate(tensor, reshape(gradient, tensor.shape));
  }
  for (const node of nodes.reverse()) {
    const dy = gradientOf.get(node.output.id);
    if (!dy || !flows.has(node.output.id)) continue;
    const { inputs } = node;
    const wants = (name: string) => {
      const operand = inputs[name];
      return operand !== undefined && flows.has(operand.id);
    };
    if (!Object.keys(inputs).some(wants)) continue;
    const rule = node.op.gradient;
    if (!rule) throw new SgpSamError('bad-graph', `${node.stage}: '${node.op.name}' has no gradient`);
    graph.stage(`${node.stage} (backward)`, () => {
      const given = rule(node, dy, wants);
      const stranger = Object.keys(given).find((name) => given[name] && !(name in inputs));
      if (stranger !== undefined)
        throw new SgpSamError(
          'bad-graph',
          `${node.op.name}: its gradient rule gave '${stranger}'; its operands are ${Object.keys(inputs).join(', ')}`,
        );
      for (const [name, gradient] of Object.entries(given)) {
        const operand = inputs[name];
        if (operand && gradient) accumulate(operand, gradient);
      }
    });
  }
  const result = new Map<Tensor, Tensor>();
  for (const tensor of wanted) {
    const gradient = gradientOf.get(tensor.id);
    if (gradient) result.set(tensor, gradient);
  }
  return result;
}

/**
 * Appends the gradients of `parameters` and makes each an output `grad.NAME` in memory of its own, where an optimiser can have it
 * written to (`CompileOptions.placements`).
 * @param seeds see {@link gradients}
 * @returns the names of the parameters that the seeds depend on, in the order given
 */
export function gradientOutputs(
  graph: Graph,
  seeds: ReadonlyMap<Tensor, Tensor>,
  parameters: readonly Tensor[],
): string[] {
  const names: string[] = [];
  const found = gradients(graph, seeds, parameters);
  const root = aliases(graph.nodes);
  const uses = new Map<number, number>();
  const use = (tensor: Tensor) => uses.set(root(tensor).id, (uses.get(root(tensor).id) ?? 0) + 1);
  for (const value of found.values()) use(value);
  for (const node of graph.nodes) if (!node.op.memory?.(node)) operands(node).forEach(use);
  for (const [parameter, value] of found) {
    // Gradients may be written into one buffer, and a dispatch that reads one there could write no other: what anything else is
    // made of, what is several parameters' and what is an input is copied.
    const from = root(value);
    const shared = from.kind !== 'value' || (uses.get(from.id) as number) > 1;
    graph.output(`grad.${parameter.name}`, shared ? copy(value) : value);
    names.push(parameter.name);
  }
  return names;
}
