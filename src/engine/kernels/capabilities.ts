/** What planners know: facts about a device, and what was chosen for it. */
import type { Gpu, SubgroupMatrix } from '../gpu/device.js';
import { type Choices, subgroupChoices } from './rules.js';

/** What a device can do, as WebGPU and its adapter tell it: facts alone, nothing that we choose. */
export interface DeviceFacts {
  /** A CPU pretending to be a GPU: barriers are expensive there, registers are the only fast memory. */
  readonly software: boolean;
  /** A CPU adapter's processor runs loops longer than its instruction cache at nearly their speed. */
  readonly longLoops?: boolean;
  readonly f16: boolean;
  /** The least and the most lanes of a subgroup; undefined where there are no subgroups. */
  readonly subgroupSizes: readonly [number, number] | undefined;
  /** A kernel may say which of these sizes it is compiled for. */
  readonly subgroupSizeControl: boolean;
  readonly subgroupMatrices: readonly SubgroupMatrix[];
  /** Bytes that a workgroup shares. */
  readonly maxWorkgroupStorage: number;
  /** Invocations of a workgroup. */
  readonly maxInvocations: number;
  /** Workgroups along an axis. */
  readonly maxWorkgroups: number;
}

type PlannersFacts = 'software' | 'longLoops' | 'maxWorkgroupStorage' | 'maxInvocations' | 'maxWorkgroups';

/** What a planner may know: the facts it goes by, and the choices that are made; pure data, so that planning can be tested without a device. */
export interface Capabilities extends Pick<DeviceFacts, PlannersFacts>, Choices {}

/** The facts about an open device. */
export function factsOf({ adapter, tier, limits, longLoops }: Gpu): DeviceFacts {
  return {
    software: adapter.kind === 'software',
    ...(longLoops ? { longLoops } : {}),
    f16: tier.f16,
    subgroupSizes: tier.subgroups ? [tier.subgroupMinSize, tier.subgroupMaxSize] : undefined,
    subgroupSizeControl: tier.subgroupSizeControl,
    subgroupMatrices: tier.subgroupMatrices,
    maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize,
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
  };
}

/**
 * What planners may know of an open device, chosen by rule, by what was measured on it, and by the caller.
 * @param force kernel → variant, to overrule both
 */
export function capabilitiesOf(
  { gpu, tuned }: { readonly gpu: Gpu; readonly tuned?: Readonly<Record<string, string>> | undefined },
  force: Readonly<Record<string, string>> = {},
): Capabilities {
  const facts = factsOf(gpu);
  const { software, longLoops, maxWorkgroupStorage, maxInvocations, maxWorkgroups } = facts;
  return {
    software,
    ...(longLoops ? { longLoops } : {}),
    maxWorkgroupStorage,
    maxInvocations,
    maxWorkgroups,
    ...subgroupChoices(facts),
    force,
    ...(tuned ? { tuned } : {}),
  };
}
