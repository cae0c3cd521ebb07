/** Conditional regions at run time: how they are skipped, what is kept per region, and what is reported. */
import type { BufferSlice } from '../gpu/engine.js';
import { ceilDiv } from '../kernels/call.js';
import type { Region } from './ir.js';
import type { Call } from './lower.js';

/**
 * How a closed gate's work is skipped (SPEC B1); the results are bit-identical.
 * - predicated  everything is dispatched, workgroups without work return at once: no host, no validation pass
 * - indirect    the gate wrote the dispatch counts: nothing is launched, at a small cost per dispatch
 * - readback    the host reads the decision and encodes only what is open: costs a round trip per gate
 */
export type RegionMode = 'predicated' | 'indirect' | 'readback';
export const regionModes: readonly RegionMode[] = ['predicated', 'indirect', 'readback'];

type Sizes = Pick<Region, 'samples' | 'channels' | 'branches'>;

/** Where the control block's list of open branches begins, in words: after the open samples and channels (region.wgsl). */
export const workOffset = ({ samples, channels }: Omit<Sizes, 'branches'>): number =>
  1 + 2 * samples + samples * channels;

/** Words of the control block: open samples, their indices, open channels each, the channels' lists, and open branches. */
export const controlWords = (region: Sizes): number =>
  workOffset(region) + 1 + region.samples * region.branches;

/** A region's plan for the gate: per dispatch (x, y, z) with everything open, and what scales it (gate.wgsl). */
export const planTable = (calls: readonly Pick<Call, 'workgroups' | 'scaling'>[]): Uint32Array<ArrayBuffer> =>
  new Uint32Array(
    calls.flatMap(({ workgroups, scaling }) => [
      ...workgroups,
      scaling?.branches ? 0xffffffff : (scaling?.columns ?? 0),
    ]),
  );

/** Where control starts in the decision buffer, in words: after the dispatch counts, 256-byte aligned. */
export const controlOffset = (dispatches: number): number => ceilDiv(4 * dispatches, 64) * 64;

/** What one region did in the last run: read from the GPU, not inferred. */
export interface RegionReport {
  readonly name: string;
  readonly openSamples: number;
  /** Open gates of each sample of the batch: of channels, or of whatever the region has gates for. */
  readonly openChannels: readonly number[];
  /** Gates per sample. */
  readonly channels: number;
  /** Dispatches that had work, and those that had none. */
  readonly executed: number;
  readonly skipped: number;
  /**
   * Per dispatch: workgroups with everything open, those that really worked, and floating-point operations with everything open.
   * A workgroup whose work is in proportion to a sample's open gates counts once for each.
   */
  readonly dispatches: readonly { kernel: string; planned: number; executed: number; flops: number }[];
}

/** What decides on a gated region: its gate (`auto`), or the caller. */
export type GateSetting = 'auto' | 'closed' | 'open';
export const FORCE: Record<GateSetting, number> = { auto: 0, closed: 1, open: 2 };

/** What a program keeps per region. */
export interface RegionState {
  readonly region: Region;
  readonly calls: Call[];
  /** Positions of the region's calls in the program. */
  readonly positions: number[];
  readonly decision: BufferSlice;
  readonly control: BufferSlice;
  readonly plan: BufferSlice;
}

export const workgroupCount = (w: readonly number[]): number => w[0] * w[1] * w[2];

/**
 * The report of one region.
 * @param control its control block (see region.wgsl), as read back
 * @param workgroups those that had work, per dispatch
 */
export function reportRegion(
  region: Region,
  calls: readonly Call[],
  control: Uint32Array,
  workgroups: readonly number[],
): RegionReport {
  const dispatches = calls.map((call, i) => ({
    kernel: call.kernel,
    planned: workgroupCount(call.workgroups) * (call.scaling?.parts ?? 1),
    executed: workgroups[i],
    flops: call.cost.flops,
  }));
  const executed = dispatches.filter((d) => d.executed > 0).length;
  return {
    name: region.name,
    openSamples: control[0],
    openChannels: [...control.slice(1 + region.samples, 1 + 2 * region.samples)],
    channels: region.channels,
    executed,
    skipped: dispatches.length - executed,
    dispatches,
  };
}
