import { SgpSamError } from '../../../base/errors.js';
import type { AdapterChoice, Gpu, Hooks, OpenDeviceOptions } from '../device.js';
import { adoptDevice, announceSoftware, openAdapter } from '../device.js';
import { howToGetOne } from './advice.js';
import { dawnFeatures, webgpuOf } from './dawn.js';
import { lowerPriority } from './priority.js';
import { longLoopsOf } from './processor.js';
import type { Miss } from './search.js';
import { ADAPTER_CHOICES, search } from './search.js';
import { waitSleeping } from './wait.js';

/** What this process adds to a device of Dawn, given these arguments, or of Deno, which waits without polling. */
export const hostHooks = (dawn: readonly string[]): Hooks => ({
  ...(webgpuOf(dawn) === 'Dawn' ? { waitSoftware: waitSleeping } : {}),
  longLoops: longLoopsOf(),
});

/**
 * Opens a device in Node, Bun or Deno: the one handed in, else the best hardware adapter, else a software one that is announced
 * (lavapipe of the system, then SwiftShader from the optional package). Call `dispose()` so that the process can exit.
 */
export async function openDevice(options: OpenDeviceOptions = {}): Promise<Gpu> {
  const announce = options.announce ?? ((line: string) => process.stderr.write(`${line}\n`));
  const dawn = [...dawnFeatures(options.features), ...(options.dawn ?? [])];
  const hooks = hostHooks(dawn);
  if (options.device) {
    const gpu = adoptDevice(options.device, options, hooks);
    announceSoftware(gpu.adapter, announce);
    return gpu;
  }
  const choice = options.adapter ?? 'auto';
  if (!ADAPTER_CHOICES.includes(choice)) {
    throw new SgpSamError(
      'bad-argument',
      `no adapter "${choice}"`,
      `Choose one of ${ADAPTER_CHOICES.join(', ')}.`,
    );
  }
  const found = await search(choice, dawn);
  if (Array.isArray(found)) throw noAdapter(choice, found);
  const { adapter, source, release } = found;
  let gpu: Gpu;
  try {
    gpu = await openAdapter(adapter, source, options, { ...hooks, onDispose: release });
  } catch (error) {
    release();
    throw error;
  }
  announceSoftware(gpu.adapter, announce);
  if (options.lowerPriority && gpu.adapter.kind === 'software') await lowerPriority(gpu.device);
  return gpu;
}

function noAdapter(choice: AdapterChoice, misses: readonly Miss[]): SgpSamError {
  const looked = misses.map(({ place, reason }) => `\n  - ${place}: ${reason}`).join('');
  const what = choice === 'auto' ? 'no WebGPU adapter' : `no ${choice} adapter`;
  return new SgpSamError('no-adapter', `${what}; looked at${looked}`, howToGetOne(choice));
}
