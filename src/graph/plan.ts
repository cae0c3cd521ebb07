/**
 * Planning: order, lifetimes, and which tensors share a buffer. WebGPU forbids reading and writing one buffer in a
 * dispatch, so memory is shared as whole buffers ("slots") whose tenants never live at the same time.
 */
import type { Capabilities } from '../kernels/call.js';
import { aliases, copyBeforeOverwriting, fuse, reachable } from './fuse.js';
import type { Graph } from './graph.js';
import { bytesOf, type Node, operands, type Tensor } from './ir.js';
import { type Call, lower } from './lower.js';

export interface Slot {
  bytes: number;
  /** The name of the largest tensor that lives here: for errors. */
  tenant: string;
}

export interface Plan {
  readonly nodes: readonly Node[];
  readonly calls: readonly Call[];
  /** Tensor id → slot; inputs, parameters and views are not here (see `root`). */
  readonly slotOf: ReadonlyMap<number, number>;
  readonly slots: readonly Slot[];
  /** The tensor whose memory a tensor lives in. */
  readonly root: (tensor: Tensor) => Tensor;
  readonly flops: number;
  readonly bytes: number;
}

/** Position of the last node that reads or writes each root; outputs live for ever. */
function lastUses(
  nodes: readonly Node[],
  root: (t: Tensor) => Tensor,
  outputs: readonly Tensor[],
): Map<number, number> {
  const end = new Map<number, number>();
  nodes.forEach((node, i) => {
    for (const tensor of [...operands(node), node.output]) end.set(root(tensor).id, i);
  });
  for (const tensor of outputs) end.set(root(tensor).id, Number.POSITIVE_INFINITY);
  return end;
}

/** Best fit: the free slot whose size is nearest, growing it if need be. */
function takeSlot(slots: Slot[], free: number[], tensor: Tensor): number {
  const bytes = bytesOf(tensor);
  let best = -1;
  for (let i = 0; i < free.length; i++) {
    const distance = Math.abs(slots[free[i]].bytes - bytes);
    if (best < 0 || distance < Math.abs(slots[free[best]].bytes - bytes)) best = i;
  }
  if (best < 0) {
    slots.push({ bytes, tenant: tensor.name });
    return slots.length - 1;
  }
  const [slot] = free.splice(best, 1);
  if (slots[slot].bytes < bytes) Object.assign(slots[slot], { bytes, tenant: tensor.name });
  return slot;
}

/**
 * Plans `graph` for its outputs. Pure: no device is touched.
 * @param placed names of outputs that the caller has memory for: they get no slot
 */
export function planGraph(graph: Graph, caps: Capabilities, placed: Iterable<string> = []): Plan {
  const outputs = [...graph.outputs.values()];
  const live = reachable(graph.nodes, outputs);
  const fused = fuse(live, outputs);
  let id = Math.max(0, ...graph.nodes.map((n) => Math.max(n.id, n.output.id))) + 1;
  const nodes = copyBeforeOverwriting(fused, outputs, () => id++);

  const root = aliases(nodes);
  const end = lastUses(nodes, root, outputs);
  const slots: Slot[] = [];
  const slotOf = new Map<number, number>();
  const free: number[] = [];
  const elsewhere = new Set(
    [...placed].flatMap((name) => graph.outputs.get(name) ?? []).map((t) => root(t).id),
  );
  nodes.forEach((node, i) => {
    const tensor = root(node.output);
    if (tensor.kind === 'value' && !slotOf.has(tensor.id) && !elsewhere.has(tensor.id)) {
      slotOf.set(tensor.id, takeSlot(slots, free, tensor));
    }
    // Free after the node: a kernel never writes over its own operands.
    const done = new Set([...operands(node), node.output].map(root));
    for (const t of done) {
      const slot = slotOf.get(t.id);
      if (slot !== undefined && end.get(t.id) === i) free.push(slot);
    }
  });
  const calls = lower(nodes, caps);
  return {
    nodes,
    calls,
    slotOf,
    slots,
    root,
    flops: calls.reduce((sum, call) => sum + call.cost.flops, 0),
    bytes: calls.reduce((sum, call) => sum + call.cost.bytes, 0),
  };
}
