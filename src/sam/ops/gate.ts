/** The gate of a Self-Gated Prompting Module in inference (SPEC B1, E2): what it decides about a region of the graph. */
import gateShader from '../../../shaders/gate.wgsl';
import { SgpSamError } from '../../base/errors.js';
import { describe, last, type Operand, type Region, sizeOf, type Tensor } from '../../engine/graph/ir.js';
import { apply, defineOp, needLength } from '../../engine/graph/op.js';
import { controlOffset } from '../../engine/graph/regions.js';
import { type KernelCall, widthOf } from '../../engine/kernels/call.js';
import type { Capabilities } from '../../engine/kernels/capabilities.js';
import { shader } from '../../engine/kernels/wgsl.js';

const MAX_HIDDEN = 1024;

/** The two linear layers of a gate; w1 (C, hidden), w2 (hidden, gates). */
export interface GateMlp {
  readonly w1: Tensor;
  readonly b1: Tensor;
  readonly w2: Tensor;
  readonly b2: Tensor;
}

/** Gate logits z (B, gates) from x (B, N, C), and the decision: dispatch counts and control block. */
export function planGate<T>(
  caps: Capabilities,
  spec: Pick<Region, 'samples' | 'branches' | 'perBranch'> & {
    readonly tokens: number;
    readonly channels: number;
    readonly gates: number;
    readonly hidden: number;
    readonly dispatches: number;
  },
  buffers: Readonly<Record<'x' | 'w1' | 'b1' | 'w2' | 'b2' | 'z' | 'decision' | 'plan', T>>,
): KernelCall<T> {
  const { perBranch, ...sizes } = spec;
  const { samples, tokens, channels, gates, hidden, dispatches } = sizes;
  const width = widthOf(channels);
  // Beside means and hidden units a quarter's sums, a part's sums and a count for each invocation.
  const shared = 4 * (256 * (width + 2) + hidden + channels);
  if (caps.maxInvocations < 256 || caps.maxWorkgroupStorage < shared)
    throw new SgpSamError(
      'adapter-limit',
      `gate: needs 256 invocations, and for ${channels} channels ${shared} bytes between them; the device has ${caps.maxInvocations} and ${caps.maxWorkgroupStorage}`,
    );
  return {
    kernel: 'gate',
    variant: 'shared',
    shader: shader(gateShader, {
      SCALAR: width === 1,
      ELEMENTS: channels / width,
      HIDDEN: hidden,
      PER_BRANCH: perBranch,
    }),
    buffers,
    params: { ...sizes, control: controlOffset(dispatches), force: 0 },
    workgroups: [1, 1, 1],
    cost: {
      flops: samples * (tokens * channels + 2 * hidden * (channels + gates)),
      bytes: 4 * (samples * tokens * channels + hidden * (channels + gates)),
    },
  };
}

type Mlp = { w1: Tensor; b1: Tensor; w2: Tensor; b2: Tensor };

/** x (B, …, C) → z (B, gates); also writes the region's decision. */
const gateOp = defineOp<{ x: Tensor } & Mlp, { region: Region }>({
  name: 'gate',
  shape({ x, w1, b1, w2, b2 }, { region }, fail) {
    const { channels: gates, branches, perBranch } = region;
    const channels = last(x);
    const hidden = w1.shape[1];
    if (w1.shape[0] !== channels || w2.shape[0] !== hidden || w2.shape[1] !== gates)
      fail(`${describe(x)} does not fit ${describe(w1)} and ${describe(w2)}`);
    needLength(fail, 'bias 1', b1, hidden);
    needLength(fail, 'bias 2', b2, gates);
    if (hidden > MAX_HIDDEN) fail(`hidden ${hidden} is over ${MAX_HIDDEN}`);
    if (perBranch && gates !== branches) fail(`${gates} gates for ${branches} branches`);
    return [x.shape[0], gates];
  },
  decides: ({ attrs: { region } }) => region,
  lower({ inputs, attrs: { region }, output: z }, { caps, dispatches }) {
    const { samples, channels: gates, branches, perBranch } = region;
    const channels = last(inputs.x);
    const sizes = {
      samples,
      branches,
      perBranch,
      channels,
      gates,
      tokens: sizeOf(inputs.x.shape) / samples / channels,
    };
    return {
      ...planGate<Operand>(
        caps,
        { ...sizes, hidden: last(inputs.w1), dispatches: dispatches(region) },
        { ...inputs, z, decision: { aux: 'decision', region }, plan: { aux: 'plan', region } },
      ),
      settable: { force: region.name },
    };
  },
  gradient: null,
});

/**
 * The gates of x (B, …, C), from its means over what lies between: the logits z (B, gates), and the region that is executed for
 * what they open. Build the region's nodes with `Graph.within`.
 * @param branches how many branches the region has, and whether the gates are theirs
 */
export function gate(
  x: Tensor,
  mlp: GateMlp,
  name: string,
  branches: Partial<Pick<Region, 'branches' | 'perBranch'>> = {},
): { z: Tensor; region: Region } {
  const region = x.graph.newRegion(name, x.shape[0], last(mlp.w2), branches);
  return { z: apply(gateOp, { x, ...mlp }, { region }), region };
}
