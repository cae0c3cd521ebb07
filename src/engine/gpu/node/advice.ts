/** What to tell someone whose machine has no adapter, or only a slow one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdapterChoice } from '../device.js';
import { swiftShaderPackage } from './swiftshader.js';
import {
  driverFilters,
  driverManifests,
  hasVulkanLoader,
  isOldMesa,
  lavapipeManifest,
  mesaVersion,
} from './vulkan.js';

const BACKPORTS =
  "echo 'deb http://deb.debian.org/debian bookworm-backports main' > /etc/apt/sources.list.d/backports.list" +
  ' && apt-get update && apt-get install -y -t bookworm-backports mesa-vulkan-drivers';

/** The ways to come by an adapter of this kind on this platform, in a line. */
export function howToGetOne(choice: AdapterChoice): string {
  if (process.platform !== 'linux') return 'Update the GPU driver.';
  const hardware =
    "Install the GPU's Vulkan driver (NVIDIA's own, or mesa-vulkan-drivers for AMD and Intel).";
  const lavapipe = 'Install mesa-vulkan-drivers (on Debian 12 from bookworm-backports: its own is too old).';
  const swiftshader = 'Type "npm install sgp-sam @sparticuz/chromium" (Linux on x64).';
  if (choice === 'hardware') return hardware;
  if (choice === 'lavapipe') return lavapipe;
  if (choice === 'swiftshader') return swiftshader;
  return `${hardware} Without a GPU: ${lavapipe} Without root: ${swiftshader}`;
}

/** What was found usable, for {@link advise} to judge. */
export interface Usable {
  hardware: boolean;
  lavapipe: boolean;
  swiftshader: boolean;
}

/** How this machine could do better, one sentence each and the most rewarding first. */
export function advise(usable: Usable): string[] {
  if (usable.hardware) return [];
  if (process.platform !== 'linux')
    return ['No GPU is offered: update its driver, and look whether a remote session hides it.'];
  return [...filterAdvice(), ...gpuAdvice(), ...lavapipeAdvice(usable), ...swiftShaderAdvice(usable)];
}

function filterAdvice(): string[] {
  return driverFilters().map(
    (name) => `${name} is set to "${process.env[name]}": unset it if it hides a driver.`,
  );
}

function gpuAdvice(): string[] {
  const vendors = graphicsVendors();
  const advice: string[] = [];
  if (vendors.has('nvidia')) {
    advice.push(
      driverManifests().some((path) => path.includes('nvidia'))
        ? 'There is an NVIDIA GPU and a Vulkan manifest for it, but the driver does not start: compare its version with the kernel module (nvidia-smi).'
        : 'There is an NVIDIA GPU without its Vulkan driver: install it, or start the container with NVIDIA_DRIVER_CAPABILITIES=all (compute alone leaves Vulkan out).',
    );
  }
  if (vendors.has('amd') || vendors.has('intel')) {
    advice.push(
      existsSync('/dev/dri')
        ? 'There is an AMD or Intel GPU: install mesa-vulkan-drivers, and let this user into the group that owns /dev/dri/renderD*.'
        : 'There is an AMD or Intel GPU but no /dev/dri: load its kernel driver, or hand the device to the container (--device /dev/dri).',
    );
  }
  if (vendors.size > 0 && !hasVulkanLoader())
    advice.push('Install the Vulkan loader: apt-get install libvulkan1.');
  return advice;
}

function lavapipeAdvice(usable: Usable): string[] {
  if (usable.lavapipe) return [];
  const faster = usable.swiftshader ? ' It is several times as fast as SwiftShader.' : '';
  const manifest = lavapipeManifest();
  if (manifest && !isOldMesa(manifest)) return [];
  if (manifest) {
    return [
      `The lavapipe of Mesa ${mesaVersion(manifest)} is too old.${faster} For a newer one on Debian 12: ${BACKPORTS}`,
    ];
  }
  const command =
    debianRelease() === '12' ? BACKPORTS : 'apt-get install mesa-vulkan-drivers (Mesa 23 or newer)';
  return [`Without a GPU, lavapipe can do the work.${faster} As root: ${command}`];
}

function swiftShaderAdvice(usable: Usable): string[] {
  if (usable.lavapipe || usable.swiftshader || process.arch !== 'x64') return [];
  return swiftShaderPackage()
    ? []
    : [
        'Without root: npm install sgp-sam @sparticuz/chromium brings SwiftShader, a slower software adapter.',
      ];
}

function debianRelease(): string | undefined {
  try {
    const release = readFileSync('/etc/os-release', 'utf8');
    return /^ID=debian$/m.test(release) ? /^VERSION_ID="?(\d+)/m.exec(release)?.[1] : undefined;
  } catch {
    return undefined;
  }
}

const VENDORS: Record<string, string> = { '0x10de': 'nvidia', '0x1002': 'amd', '0x8086': 'intel' };

/** Makers of the graphics devices on the PCI bus, and of those whose driver is visible without one. */
function graphicsVendors(): Set<string> {
  const found = new Set<string>();
  if (existsSync('/proc/driver/nvidia/version') || existsSync('/dev/nvidia0')) found.add('nvidia');
  const bus = '/sys/bus/pci/devices';
  for (const slot of existsSync(bus) ? readdirSync(bus) : []) {
    try {
      const read = (name: string) => readFileSync(join(bus, slot, name), 'utf8').trim();
      // PCI class 03 is display; 0302 a "3D controller", which is what a GPU without a screen is.
      const vendor = read('class').startsWith('0x03') ? VENDORS[read('vendor')] : undefined;
      if (vendor) found.add(vendor);
    } catch {
      // a slot that vanished or hides its files
    }
  }
  return found;
}
