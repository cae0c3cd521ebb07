/**
 * Planning: order, lifetimes, and which tensors share a buffer. WebGPU forbids reading and writing one buffer in a
 * dispatch, so memory is shared as whole buffers ("slots") whose tenants never live at the same time.
 */
import type { Capabilities } from '../kernels/capabilities.js';
import type { Shader } from '../kernels/wgsl.js';
import { aliases, copyBeforeOverwriting, fuse, reachable, rewrite } from './fuse.js';
import type { Graph } from './graph.js';
import { bytesOf, type Node, operands, type Tensor } from './ir.js';
import { type Call, lower } from './lower.js';

export interface Slot {
  readonly bytes: number;
  /** The name of the largest tensor that lives here: for errors. */
  readonly tenant: string;
}

/** A graph for a device: its nodes after all rewrites, their dispatches, and which memory each tensor has. */
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
  /** Bytes of tensors alive while each dispatch runs: what the slots hold, not what they take. */
  readonly liveBytes: readonly number[];
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

/** A tensor's life: from the node that first writes it to the last that touches it, both included. */
interface Life {
  readonly tensor: Tensor;
  readonly from: number;
  readonly to: number;
}

/**
 * Slots for tensors that need memory, the largest first, each in the smallest slot that is free all its life (Pisarchyk
 * and Lee 2020, "greedy by size"): a slot is then never larger than its first tenant.
 */
function assignSlots(lives: readonly Life[]): { slots: Slot[]; slotOf: Map<number, number> } {
  const slots: (Slot & { readonly tenants: Life[] })[] = [];
  const slotOf = new Map<number, number>();
  const order = lives.toSorted((a, b) => bytesOf(b.tensor) - bytesOf(a.tensor) || a.from - b.from);
  for (const life of order) {
    const { tensor, from, to } = life;
    let found = -1;
    // Slots are in falling order of size, so the last that is free fits best.
    for (let i = slots.length - 1; i >= 0 && found < 0; i--) {
      if (slots[i].tenants.every((other) => other.to < from || to < other.from)) found = i;
    }
    if (found < 0) found = slots.push({ bytes: bytesOf(tensor), tenant: tensor.name, tenants: [] }) - 1;
    slots[found].tenants.push(life);
    slotOf.set(tensor.id, found);
  }
  return { slots: slots.map(({ bytes, tenant }) => ({ bytes, tenant })), slotOf };
}

/** Bytes alive at each of `count` nodes. */
function bytesAlive(lives: readonly Life[], count: number): number[] {
  const change = new Array<number>(count + 1).fill(0);
  for (const { tensor, from, to } of lives) {
    change[from] += bytesOf(tensor);
    change[Math.min(to + 1, count)] -= bytesOf(tensor);
  }
  let alive = 0;
  return change.slice(0, count).map((by) => {
    alive += by;
    return alive;
  });
}

/** The plan's shaders, each once. */
export const distinctShaders = ({ calls }: Plan): Shader[] => [
  ...new Map(calls.map(({ shader }) => [shader.code, shader])).values(),
];

/**
 * Plans `graph` for its outputs. Pure: no device is touched.
 * @param placed names of outputs that the caller has memory for: they get no slot
 */
export function planGraph(graph: Graph, caps: Capabilities, placed: Iterable<string> = []): Plan {
  const outputs = [...graph.outputs.values()];
  const live = reachable(graph.nodes, outputs);
  const fused = fuse(reachable(rewrite(live, caps), outputs), outputs);
  let id = Math.max(0, ...graph.nodes.map((n) => Math.max(n.id, n.output.id))) + 1;
  const nodes = copyBeforeOverwriting(fused, outputs, () => id++);

  const root = aliases(nodes);
  const end = lastUses(nodes, root, outputs);
  const elsewhere = new Set(
    [...placed].flatMap((name) => graph.outputs.get(name) ?? []).map((t) => root(t).id),
  );
  const lives = new Map<number, Life>();
  nodes.forEach((node, i) => {
    const tensor = root(node.output);
    if (tensor.kind !== 'value' || lives.has(tensor.id) || elsewhere.has(tensor.id)) return;
    lives.set(tensor.id, { tensor, from: i, to: end.get(tensor.id) as number });
  });
  const { slots, slotOf } = assignSlots([...lives.values()]);
  const calls = lower(nodes, caps);
  const alive = bytesAlive([...lives.values()], nodes.length);
  return {
    nodes,
    calls,
    slotOf,
    slots,
    root,
    flops: calls.reduce((sum, call) => sum + call.cost.flops, 0),
    bytes: calls.reduce((sum, call) => sum + call.cost.bytes, 0),
    liveBytes: calls.map(({ node }) => alive[node]),
  };
}
