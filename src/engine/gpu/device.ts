/**
 * What the engine needs to know about a GPU device, and the one place where a `GPUDevice` becomes a {@link Gpu}.
 * Nothing here knows where adapters come from: `open.ts` asks the browser, `node/open.ts` asks Dawn.
 */
import { SgpSamError } from '../../base/errors.js';

/** Whether an adapter computes on a GPU or on the processor. */
export type AdapterKind = 'hardware' | 'software';

/** Which adapter to open. The last two name a software adapter and take no other. */
export type AdapterChoice = 'auto' | 'hardware' | 'software' | 'lavapipe' | 'swiftshader';

/** Where an adapter came from: handed in by the host, the browser, the system's drivers, or by name. */
export type AdapterSource = 'adopted' | 'browser' | 'system' | 'lavapipe' | 'swiftshader';

/** What is known of an adapter: what it says of itself, and where it came from. */
export interface AdapterReport {
  kind: AdapterKind;
  source: AdapterSource;
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** What WebGPU itself says; `kind` also knows software adapters that do not admit to it. */
  isFallback: boolean;
}

/** C (M × N) += A (M × K) · B (K × N): Chromium's `GPUSubgroupMatrixConfig`, which @webgpu/types does not know. */
export interface SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Optional capabilities of a device: only what was granted, so a kernel may use whatever is true here. */
export interface Tier {
  f16: boolean;
  subgroups: boolean;
  /** 0 without `subgroups`. */
  subgroupMinSize: number;
  /** 0 without `subgroups`. */
  subgroupMaxSize: number;
  /** A kernel may say which of these sizes it is compiled for. */
  subgroupSizeControl: boolean;
  timestamps: boolean;
  /** Experimental and never required: the matrices that subgroups multiply; none unless Chromium's feature was granted. */
  subgroupMatrices: readonly SubgroupMatrix[];
}

/** An open device with what the engine has to know of it. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly adapter: AdapterReport;
  readonly tier: Tier;
  readonly limits: GPUSupportedLimits;
  /** A software adapter on a processor that runs loops longer than its instruction cache at nearly their speed, as far as is known. */
  readonly longLoops: boolean;
  /** Resolves (never rejects) when the device goes away under us. `dispose()` is not a loss. */
  readonly lost: Promise<SgpSamError>;
  /** The device can no longer be used: it was lost, or this handle was disposed. */
  readonly isLost: boolean;
  /** What `lost` has resolved to: the driver's reason and message with it. */
  readonly loss: SgpSamError | undefined;
  /**
   * Await a readback (`mapAsync`, `onSubmittedWorkDone`) through this. It is the promise itself, except on a software
   * adapter in Node, where waiting for it plainly would cost the adapter one of its cores.
   */
  wait<T>(pending: Promise<T>): Promise<T>;
  /** Destroys the device if we opened it, leaves it alone if it was adopted. Safe to call twice. */
  dispose(): void;
}

/** How much of a device is used: all that is not experimental, the base tier, or experiments too. */
export const deviceFeatures = ['all', 'none', 'experimental'] as const;
/** One of `deviceFeatures`. */
export type DeviceFeatures = (typeof deviceFeatures)[number];

/** Which device to open, and with what. */
export interface OpenDeviceOptions {
  /** A device the host owns: used as it is, never destroyed. Of the others only `features` and `announce` then matter. */
  device?: GPUDevice;
  adapter?: AdapterChoice;
  /** `raised` (the default) asks for larger buffers and workgroups as far as granted; `default` is WebGPU's own. */
  limits?: 'default' | 'raised';
  /**
   * `none` opens (or treats an adopted device as) the base tier. `experimental`: in Node, also what Dawn keeps behind
   * `allow_unsafe_apis`, such as subgroup matrices; a browser has a flag of its own for that.
   */
  features?: DeviceFeatures;
  /** Told, in one line, when a software adapter is used. Default: stderr in Node, the console in a page. */
  announce?: (line: string) => void;
  /**
   * Node on Linux, software adapters only: gives the calling thread a lower priority once the driver's threads exist,
   * for promises that are not awaited through `Gpu.wait`. It cannot be undone without root: for command-line
   * programs and tests, not for servers.
   */
  lowerPriority?: boolean;
  /** Node only: further arguments for Dawn's `create()`, such as `enable-dawn-features=dump_shaders`. */
  dawn?: readonly string[];
}

/** Newer than what TypeScript knows of WebGPU. */
const SIZE_CONTROL = 'subgroup-size-control' as GPUFeatureName;
const OPTIONAL_FEATURES: readonly GPUFeatureName[] = [
  'shader-f16',
  'subgroups',
  SIZE_CONTROL,
  'timestamp-query',
];
/** Not in @webgpu/types: Chromium's experiment, offered only when unsafe APIs are allowed. */
const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix' as GPUFeatureName;

/** WebGPU's default value of each limit a compute engine meets; every core adapter must grant these. */
export const DEFAULT_LIMITS = {
  maxBufferSize: 268_435_456,
  maxStorageBufferBindingSize: 134_217_728,
  maxUniformBufferBindingSize: 65_536,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBuffersPerShaderStage: 12,
  maxBindGroups: 4,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65_535,
} as const;

export type LimitName = keyof typeof DEFAULT_LIMITS;

/** Raised as far as the adapter grants; the rest stays at its default so that kernels are written against one value. */
const RAISED: readonly LimitName[] = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
];

const SOFTWARE_NAMES = /swiftshader|llvmpipe|lavapipe|software|basic render driver/i;

/** Describes an adapter, deciding from its own words whether it runs on the CPU. */
export function describeAdapter(info: GPUAdapterInfo, source: AdapterSource): AdapterReport {
  const { vendor, architecture, device, description } = info;
  const isFallback = info.isFallbackAdapter === true;
  const software = isFallback || SOFTWARE_NAMES.test(`${architecture} ${device} ${description}`);
  return {
    kind: software ? 'software' : 'hardware',
    source,
    vendor,
    architecture,
    device,
    description,
    isFallback,
  };
}

/** The software adapter's name, if it is one that can be asked for by name. */
export function softwareName(info: GPUAdapterInfo): 'lavapipe' | 'swiftshader' | undefined {
  const words = `${info.architecture} ${info.device} ${info.description}`;
  if (/swiftshader/i.test(words)) return 'swiftshader';
  if (/llvmpipe|lavapipe/i.test(words)) return 'lavapipe';
  return undefined;
}

/** One line for a person: what the adapter calls itself, and its kind. */
export function adapterLine(adapter: AdapterReport): string {
  const name =
    adapter.description || [adapter.vendor, adapter.architecture].filter(Boolean).join(' ') || 'unnamed';
  return `${name} (${adapter.kind}, ${adapter.source})`;
}

/** Says so, in one line, when work is going to run on the CPU: never silently. */
export function announceSoftware(adapter: AdapterReport, announce: (line: string) => void): void {
  if (adapter.kind === 'hardware') return;
  announce(`sgp-sam: no GPU in use; ${adapterLine(adapter)} runs on the CPU and is slow`);
}

/** Fails when the adapter does not grant even WebGPU's default limits, naming the first that is short. */
export function checkDefaultLimits(limits: GPUSupportedLimits, name: string): void {
  for (const [limit, least] of Object.entries(DEFAULT_LIMITS) as [LimitName, number][]) {
    const granted = limits[limit];
    if (granted < least) {
      throw new SgpSamError(
        'adapter-limit',
        `${name}: ${limit} is ${granted}, below WebGPU's default of ${least}`,
        'Use another adapter: this one offers less than core WebGPU.',
      );
    }
  }
}

/** The descriptor to open `adapter` with: what `options` asks for, as far as the adapter has it. */
function deviceDescriptor(adapter: GPUAdapter, options: OpenDeviceOptions): GPUDeviceDescriptor {
  const requiredLimits: Record<string, number> = {};
  if (options.limits !== 'default') for (const limit of RAISED) requiredLimits[limit] = adapter.limits[limit];
  const wanted = options.features === 'none' ? [] : [...OPTIONAL_FEATURES, SUBGROUP_MATRIX];
  const requiredFeatures = wanted.filter((feature) => adapter.features.has(feature));
  return { label: 'sgp-sam', requiredFeatures, requiredLimits };
}

/** What a host environment adds to a device. */
export interface Hooks {
  /** Runs once, after a device we opened was destroyed. */
  onDispose?: (() => void) | undefined;
  /** `Gpu.wait` for software adapters. */
  waitSoftware?: <T>(pending: Promise<T>) => Promise<T>;
  /** `Gpu.longLoops` for software adapters. */
  longLoops?: boolean;
}

/** Opens `adapter` and wraps the device. */
export async function openAdapter(
  adapter: GPUAdapter,
  source: AdapterSource,
  options: OpenDeviceOptions,
  hooks: Hooks = {},
): Promise<Gpu> {
  const report = describeAdapter(adapter.info, source);
  checkDefaultLimits(adapter.limits, adapterLine(report));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice(deviceDescriptor(adapter, options));
  } catch (cause) {
    throw new SgpSamError(
      'no-adapter',
      `${adapterLine(report)} was found but would not open: ${cause instanceof Error ? cause.message : cause}`,
      'Close other programs that use the GPU, or choose another adapter.',
      { cause },
    );
  }
  return wrapDevice(device, report, tierOf(device, adapter.info, options), {
    ...hooks,
    onDispose() {
      device.destroy();
      hooks.onDispose?.();
    },
  });
}

/** Wraps a device the host owns; disposing of it leaves it untouched. */
export function adoptDevice(device: GPUDevice, options: OpenDeviceOptions = {}, hooks: Hooks = {}): Gpu {
  // Optional chaining: browsers before 2025 have no `adapterInfo` on the device.
  const info = (device.adapterInfo as GPUAdapterInfo | undefined) ?? UNKNOWN_INFO;
  checkDefaultLimits(device.limits, 'the device handed in');
  return wrapDevice(device, describeAdapter(info, 'adopted'), tierOf(device, info, options), {
    ...hooks,
    onDispose: undefined,
  });
}

const UNKNOWN_INFO = { vendor: '', architecture: '', device: '', description: '' } as GPUAdapterInfo;

function tierOf(device: GPUDevice, info: GPUAdapterInfo, options: OpenDeviceOptions): Tier {
  const has = (feature: GPUFeatureName) => options.features !== 'none' && device.features.has(feature);
  // Without known sizes subgroups are useless to a kernel, so they count as absent.
  const subgroups = has('subgroups') && (info.subgroupMinSize ?? 0) > 0;
  return {
    f16: has('shader-f16'),
    subgroups,
    subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 0) : 0,
    subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 0) : 0,
    subgroupSizeControl: subgroups && has(SIZE_CONTROL),
    timestamps: has('timestamp-query'),
    subgroupMatrices: has(SUBGROUP_MATRIX) ? matricesOf(info) : [],
  };
}

/** As plain objects: Dawn's have getters only, which neither JSON nor a message to another thread carries. */
function matricesOf(info: GPUAdapterInfo): SubgroupMatrix[] {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrix> };
  return [...subgroupMatrixConfigs].map(({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}

function wrapDevice(device: GPUDevice, adapter: AdapterReport, tier: Tier, hooks: Hooks): Gpu {
  let disposed = false;
  let loss: SgpSamError | undefined;
  const lost = new Promise<SgpSamError>((resolve) => {
    device.lost.then((info) => {
      if (disposed) return;
      const why = info.message || 'no reason was given';
      loss = new SgpSamError(
        'device-lost',
        `${adapterLine(adapter)} was lost (${info.reason}): ${why}`,
        'Open a new device and rebuild from the weights; lower the work per submit if the driver timed out.',
      );
      resolve(loss);
    });
  });
  return {
    device,
    adapter,
    tier,
    limits: device.limits,
    longLoops: adapter.kind === 'software' && hooks.longLoops === true,
    lost,
    wait: (adapter.kind === 'software' && hooks.waitSoftware) || ((pending) => pending),
    get isLost() {
      return loss !== undefined || disposed;
    },
    get loss() {
      return loss;
    },
    dispose() {
      if (disposed) return;
      disposed = true;
      hooks.onDispose?.();
    },
  };
}
