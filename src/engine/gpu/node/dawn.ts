/**
 * Adapters outside of a page. Mostly Dawn's, loaded on demand: the npm package `webgpu`, an optional peer, is only needed where Node or
 * Bun opens a device.
 */
import { SgpSamError } from '../../../base/errors.js';
import { Queue } from '../../../base/queue.js';
import type { DeviceFeatures } from '../device.js';
import { denoEnvironment, denoGpu, findInDeno } from './deno.js';
import { setVariable } from './runtime.js';

/** An adapter together with the instance it came from; `release` lets go of both. */
export interface FoundAdapter {
  adapter: GPUAdapter;
  release(): void;
  /** Why it may be another than was looked for. */
  note?: string;
}

export interface FindOptions {
  /** Vulkan driver manifests (absolute paths) to use instead of the system's. */
  drivers?: readonly string[];
  /** Further variables that a loader or driver reads, put back afterwards like those for `drivers`. */
  environment?: Readonly<Record<string, string>>;
  request?: GPURequestAdapterOptions;
  /** Further arguments of Dawn's `create()`, such as `enable-dawn-features=dump_shaders`. */
  dawn?: readonly string[];
}

/** The variables a Vulkan loader reads its drivers from: the name since 1.3.207, and the one before. */
const DRIVER_VARIABLES = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'] as const;

/** Without it timestamps are rounded to 65.5 µs, a browser's defence that a local program has no use for. */
const EXACT_TIMESTAMPS = 'disable-dawn-features=timestamp_quantization';

/** Dawn's argument for what a device is to be opened with. */
export const dawnFeatures = (features: DeviceFeatures | undefined): string[] =>
  features === 'experimental' ? ['enable-dawn-features=allow_unsafe_apis'] : [];

/** What brings Dawn, an optional peer dependency of the package. */
const INSTALL = 'npm install sgp-sam webgpu';

type Dawn = typeof import('webgpu');
let loading: Promise<Dawn> | undefined;

function loadDawn(): Promise<Dawn> {
  loading ??= import('webgpu').then(
    (dawn) => {
      // GPUBufferUsage and its like. A host that already has WebGPU's globals keeps its own.
      for (const [name, value] of Object.entries(dawn.globals)) {
        if (!(name in globalThis))
          Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
      }
      return dawn;
    },
    (cause: unknown) => {
      loading = undefined;
      const missing = (cause as { code?: string } | null)?.code === 'ERR_MODULE_NOT_FOUND';
      throw new SgpSamError(
        'no-adapter',
        missing
          ? 'WebGPU for Node is not installed: the package "webgpu", which pages have no use for'
          : `WebGPU for Node (the package "webgpu") could not be loaded: ${firstLine(cause)}`,
        `Type "${INSTALL}"; it has builds for Linux with glibc, macOS and Windows on x64 and arm64.`,
        { cause },
      );
    },
  );
  return loading;
}

const turns = new Queue();

/** What is asked of Dawn by name only Dawn has; all else is asked of Deno where this is Deno. */
const denoFor = (dawn: readonly string[] = []): GPU | undefined =>
  dawn.length === 0 ? denoGpu() : undefined;

/** Whose adapters {@link findAdapter} gives when these are Dawn's arguments. */
export const webgpuOf = (dawn?: readonly string[]): 'Dawn' | 'wgpu' => (denoFor(dawn) ? 'wgpu' : 'Dawn');

/**
 * Asks a fresh Dawn instance, or Deno's one, for an adapter; undefined when it has none. The drivers are handed over through the
 * environment, which a Vulkan loader reads anew for every instance: so callers take turns, the variables are put
 * back before the next one, and one process can hold lavapipe and SwiftShader at the same time.
 */
export function findAdapter(options: FindOptions = {}): Promise<FoundAdapter | undefined> {
  return turns.run(async () => {
    const deno = denoFor(options.dawn);
    if (deno) {
      const environment = { ...denoEnvironment(), ...options.environment };
      return withEnvironment({ ...options, environment }, () => findInDeno(deno, options));
    }
    const dawn = await loadDawn();
    return withEnvironment(options, async () => {
      let instance: GPU | undefined = dawn.create([EXACT_TIMESTAMPS, ...(options.dawn ?? [])]);
      // The instance must outlive the device, and Node can be kept from exiting by a reference to it: hence `release`.
      // Not at once: Dawn's binding polls the instance once more in the event loop's next turn, and must not find it
      // collected.
      const release = () => {
        setImmediate(() => {
          instance = undefined;
        });
      };
      const adapter = await instance.requestAdapter(options.request);
      if (!adapter) {
        release();
        return undefined;
      }
      return { adapter, release };
    });
  });
}

async function withEnvironment<T>({ drivers, environment }: FindOptions, body: () => Promise<T>): Promise<T> {
  const files = drivers?.join(':');
  const wanted = {
    ...environment,
    ...(files === undefined ? {} : Object.fromEntries(DRIVER_VARIABLES.map((name) => [name, files]))),
  };
  const before = Object.keys(wanted).map((name) => [name, process.env[name]] as const);
  for (const [name, value] of Object.entries(wanted)) setVariable(name, value);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) setVariable(name, value);
  }
}

/** The first line of whatever was thrown, for use inside another message. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
