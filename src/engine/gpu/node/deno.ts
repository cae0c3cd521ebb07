/** Deno's WebGPU (wgpu), which needs no package: used there in Dawn's place. */
import type { FindOptions, FoundAdapter } from './dawn.js';

/** Deno's own WebGPU; undefined elsewhere, and in a Deno that keeps it behind a flag. */
export function denoGpu(): GPU | undefined {
  if (!process.versions.deno || typeof navigator === 'undefined') return undefined;
  return navigator.gpu as GPU | undefined;
}

/**
 * The backend that Deno is told, unless its user did. Beside Vulkan wgpu opens OpenGL, on which Mesa's software renderer bears the
 * same name as lavapipe, and has no f16.
 */
export const denoEnvironment = (): Readonly<Record<string, string>> =>
  process.platform !== 'linux' || process.env.DENO_WEBGPU_BACKEND ? {} : { DENO_WEBGPU_BACKEND: 'vulkan' };

/** The drivers that this process opened: Deno makes one instance of wgpu, at the first request, and it keeps its drivers. */
let opened: string | undefined;

/** Asks Deno for an adapter; of other drivers than the process's first for a software one, which may well be what is looked for. */
export async function findInDeno(
  gpu: GPU,
  { drivers = [], request }: FindOptions,
): Promise<FoundAdapter | undefined> {
  const wanted = drivers.join(':');
  opened ??= wanted;
  const late = opened !== wanted;
  const adapter = await gpu.requestAdapter(late ? { forceFallbackAdapter: true } : request);
  if (!adapter) return undefined;
  return { adapter, release: () => {}, ...(late ? { note: LATE } : {}) };
}

const LATE =
  'Deno opens the drivers of a process once, and has opened others in this one: ask for it first (--adapter)';
