/** What Linux offers of Vulkan: its loader, and Mesa's software driver lavapipe. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { loadLibrary } from './runtime.js';

const LOADER = 'libvulkan.so.1';
const loadLoader = (file: string): boolean => loadLibrary(file, 'vkGetInstanceProcAddr');

/** Whether the system has a Vulkan loader (`libvulkan1` on Debian) or one was loaded by {@link loadVulkan}. */
export function hasVulkanLoader(): boolean {
  return loadLoader(LOADER);
}

/**
 * Makes sure that a Vulkan loader is in this process: the system's, else the one at `bundled`. A bundled loader reads
 * the system's drivers just as well, so a GPU driver without `libvulkan1` is usable too.
 */
export function loadVulkan(bundled: string): boolean {
  return hasVulkanLoader() || loadLoader(bundled);
}

const MANIFEST_FOLDERS = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'];
const LIBRARY_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/lib',
];

/** All Vulkan driver manifests the system has, for this processor or for any. */
export function driverManifests(): string[] {
  const other = process.arch === 'arm64' ? /x86_64|i[36]86/ : /aarch64|i[36]86/;
  return MANIFEST_FOLDERS.flatMap((folder) => {
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json') && !other.test(name))
      .map((name) => join(folder, name));
  });
}

/** The manifest of Mesa's lavapipe, if it is installed. */
export function lavapipeManifest(): string | undefined {
  return driverManifests().find((path) => /\/lvp_icd[^/]*$/.test(path));
}

/** The manifest of Mesa's driver for AMD's GPUs, if it is installed. */
export function radvManifest(): string | undefined {
  return driverManifests().find((path) => /\/radeon_icd[^/]*$/.test(path));
}

/** The Mesa release behind a driver manifest, read out of its library: Dawn refuses old ones without saying why. */
export function mesaVersion(manifest: string): string | undefined {
  try {
    const { ICD } = JSON.parse(readFileSync(manifest, 'utf8')) as { ICD?: { library_path?: string } };
    const path = ICD?.library_path;
    if (!path) return undefined;
    const library = isAbsolute(path)
      ? path
      : LIBRARY_FOLDERS.map((folder) => join(folder, path)).find((candidate) => existsSync(candidate));
    return library && /Mesa (\d+\.\d+[\w.~+-]*)/.exec(readFileSync(library, 'latin1'))?.[1];
  } catch {
    return undefined;
  }
}

/** Whether a manifest's Mesa is older than what Dawn works with; false when its version cannot be told. */
export function isOldMesa(manifest: string): boolean {
  return Number.parseInt(mesaVersion(manifest) ?? '23', 10) < 23;
}

/** Variables in the environment that make a Vulkan loader pass over installed drivers. */
export function driverFilters(): string[] {
  return ['VK_LOADER_DRIVERS_SELECT', 'VK_LOADER_DRIVERS_DISABLE'].filter((name) => process.env[name]);
}
