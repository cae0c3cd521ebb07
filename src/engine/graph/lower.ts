/** From nodes to dispatches: each operation lowers its own (`Op.lower`). */
import { SgpSamError } from '../../base/errors.js';
import type { KernelCall } from '../kernels/call.js';
import type { Capabilities } from '../kernels/capabilities.js';
import { withSubgroupSize } from '../kernels/wgsl.js';
import type { Lowering, Node, Operand, Region } from './ir.js';

export interface Call extends KernelCall<Operand> {
  readonly stage: string;
  /** Index of the node it serves. */
  readonly node: number;
  /** The region that it runs in. */
  readonly region?: Region;
}

const lowerNode = (node: Node, on: Lowering): readonly KernelCall<Operand>[] => {
  const lowered = node.op.lower(node, on);
  return 'kernel' in lowered ? [lowered] : lowered;
};

/** All dispatches of `nodes`, in order. */
export function lower(nodes: readonly Node[], caps: Capabilities): Call[] {
  // A gate comes before its region, but must know how many dispatches that has: count them first.
  const perRegion = new Map<number, number>();
  for (const node of nodes) {
    if (!node.region) continue;
    const { length } = lowerNode(node, { caps, counter: 0, dispatches: () => 0 });
    perRegion.set(node.region.id, (perRegion.get(node.region.id) ?? 0) + length);
  }
  const dispatches = (region: Region): number => perRegion.get(region.id) ?? 0;
  const calls: Call[] = [];
  nodes.forEach((node, index) => {
    for (const call of lowerNode(node, { caps, counter: calls.length, dispatches })) {
      if (call.workgroups.some((n) => n > caps.maxWorkgroups))
        throw new SgpSamError(
          'adapter-limit',
          `${node.stage || node.op.name}: ${call.kernel} (${call.variant}) of (${node.output.shape.join(', ')}) takes ${call.workgroups.join(' × ')} workgroups, the device has ${caps.maxWorkgroups} along an axis`,
          'Do it in parts: slice what it works on.',
        );
      const region = node.region ? { region: node.region } : {};
      const shader = caps.fixSubgroups ? withSubgroupSize(call.shader, caps.subgroupSize) : call.shader;
      calls.push({ ...call, shader, stage: node.stage, node: index, ...region });
    }
  });
  return calls;
}
