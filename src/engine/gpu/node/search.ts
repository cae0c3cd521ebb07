/** Where Node looks for adapters, in what order, and why a place had none. */
import { isMainThread } from 'node:worker_threads';
import type { AdapterChoice, AdapterSource } from '../device.js';
import { describeAdapter, softwareName } from '../device.js';
import type { FindOptions, FoundAdapter } from './dawn.js';
import { findAdapter, firstLine, webgpuOf } from './dawn.js';
import { unpackSwiftShader } from './swiftshader.js';
import {
  driverFilters,
  hasVulkanLoader,
  isOldMesa,
  lavapipeManifest,
  loadVulkan,
  mesaVersion,
} from './vulkan.js';

export interface Candidate extends FoundAdapter {
  source: AdapterSource;
}

/** A place that was searched in vain, and why. */
export interface Miss {
  place: string;
  reason: string;
}

type Search = (dawn: readonly string[]) => Promise<Candidate | Miss>;

/** The places to look at for each choice, best first. */
const ORDER: Record<AdapterChoice, readonly Search[]> = {
  // A software driver that the system offers unasked comes before our own search for one.
  auto: [anySystem, lavapipe, swiftShader],
  hardware: [hardware],
  software: [lavapipe, swiftShader, systemSoftware],
  lavapipe: [lavapipe, systemNamed('lavapipe')],
  swiftshader: [swiftShader, systemNamed('swiftshader')],
};

export const ADAPTER_CHOICES = Object.keys(ORDER) as AdapterChoice[];

/** The first adapter that fits, or all the misses. */
export async function search(
  choice: AdapterChoice,
  dawn: readonly string[] = [],
): Promise<Candidate | Miss[]> {
  const misses: Miss[] = [];
  for (const look of ORDER[choice]) {
    const result = await look(dawn);
    if ('adapter' in result) return result;
    misses.push(result);
  }
  return misses;
}

/** Every place at once, each with what it has, for a report. The adapters must be released by the caller. */
export async function searchEverywhere(dawn: readonly string[] = []): Promise<(Candidate | Miss)[]> {
  const results: (Candidate | Miss)[] = [];
  for (const look of [anySystem, lowPower, lavapipe, swiftShader]) results.push(await look(dawn));
  return results;
}

async function attempt(
  place: string,
  source: AdapterSource,
  options: FindOptions,
  refuse: (info: GPUAdapterInfo) => string | undefined,
  absent: () => string,
): Promise<Candidate | Miss> {
  let found: FoundAdapter | undefined;
  try {
    found = await findAdapter(options);
  } catch (error) {
    // A missing "webgpu" package is nothing another place could make up for.
    if (error instanceof Error && error.name === 'SgpSamError') throw error;
    return { place, reason: firstLine(error) };
  }
  if (!found) return { place, reason: absent() };
  const reason = refuse(found.adapter.info);
  if (reason === undefined) return { ...found, source };
  found.release();
  return { place, reason: found.note ?? reason };
}

const isSoftware = (info: GPUAdapterInfo) => describeAdapter(info, 'system').kind === 'software';
const onlySoftware = (info: GPUAdapterInfo) =>
  isSoftware(info) ? `only ${info.description} is offered` : undefined;

function noSystemAdapter(dawn: readonly string[]): string {
  if (process.platform !== 'linux') return 'no adapter is offered';
  return hasVulkanLoader()
    ? `no Vulkan driver there works with ${webgpuOf(dawn)}`
    : 'there is no Vulkan loader (libvulkan.so.1)';
}

/** A GPU driver without a system loader is still reached through SwiftShader's. */
function prepareLoader(): void {
  if (process.platform !== 'linux' || hasVulkanLoader()) return;
  const bundled = unpackSwiftShader();
  if (typeof bundled !== 'string') loadVulkan(bundled.loader);
}

async function fromSystem(
  dawn: readonly string[],
  request: GPURequestAdapterOptions,
  refuse: (info: GPUAdapterInfo) => string | undefined,
): Promise<Candidate | Miss> {
  prepareLoader();
  const result = await attempt("the system's drivers", 'system', { dawn, request }, refuse, () =>
    noSystemAdapter(dawn),
  );
  if ('adapter' in result) result.source = softwareName(result.adapter.info) ?? 'system';
  return result;
}

function anySystem(dawn: readonly string[]) {
  return fromSystem(dawn, { powerPreference: 'high-performance' }, () => undefined);
}

function hardware(dawn: readonly string[]) {
  return fromSystem(dawn, { powerPreference: 'high-performance' }, onlySoftware);
}

function lowPower(dawn: readonly string[]) {
  return fromSystem(dawn, { powerPreference: 'low-power' }, onlySoftware);
}

function systemSoftware(dawn: readonly string[]) {
  const refuse = (info: GPUAdapterInfo) => (isSoftware(info) ? undefined : 'only hardware is offered');
  return fromSystem(dawn, { forceFallbackAdapter: true }, refuse);
}

function systemNamed(name: 'lavapipe' | 'swiftshader'): Search {
  return (dawn) => {
    const refuse = (info: GPUAdapterInfo) =>
      softwareName(info) === name ? undefined : `${info.description || info.vendor} is not ${name}`;
    return fromSystem(dawn, { forceFallbackAdapter: true }, refuse);
  };
}

async function lavapipe(dawn: readonly string[]): Promise<Candidate | Miss> {
  const place = 'lavapipe (Mesa)';
  if (process.platform !== 'linux') return { place, reason: `not looked for on ${process.platform}` };
  const manifest = lavapipeManifest();
  if (!manifest) return { place, reason: 'mesa-vulkan-drivers is not installed' };
  prepareLoader();
  if (!hasVulkanLoader()) return { place, reason: 'there is no Vulkan loader (libvulkan.so.1)' };
  return attempt(
    place,
    'lavapipe',
    { dawn, drivers: [manifest] },
    (info) =>
      softwareName(info) === 'lavapipe' ? undefined : `${manifest} gave ${info.description} instead`,
    () =>
      `${webgpuOf(dawn)} gets no adapter from Mesa ${mesaVersion(manifest) ?? '(version unknown)'}${isOldMesa(manifest) ? ', which is too old' : why()}`,
  );
}

async function swiftShader(dawn: readonly string[]): Promise<Candidate | Miss> {
  const place = 'SwiftShader';
  const unpacked = unpackSwiftShader();
  if (typeof unpacked === 'string') return { place, reason: unpacked };
  if (!loadVulkan(unpacked.loader))
    return { place, reason: `${unpacked.loader} could not be loaded: is its folder noexec?` };
  return attempt(
    place,
    'swiftshader',
    { dawn, drivers: [unpacked.manifest] },
    (info) =>
      softwareName(info) === 'swiftshader'
        ? undefined
        : `${unpacked.manifest} gave ${info.description} instead`,
    () => `the Vulkan loader found no driver through ${unpacked.manifest}${why()}`,
  );
}

/** What keeps the Vulkan loader from a driver that is there. */
function why(): string {
  const filters = driverFilters();
  if (filters.length > 0) return ` (${filters.join(' and ')} may hide it)`;
  // A worker's process.env is a copy that no native library sees, so a driver cannot be chosen from there.
  return isMainThread ? '' : ' (a worker thread cannot choose a driver: open the device on the main thread)';
}
