import { SgpSamError } from '../../base/errors.js';
import type { Gpu, OpenDeviceOptions } from './device.js';
import { adapterLine, adoptDevice, announceSoftware, openAdapter, softwareName } from './device.js';

/** Opens a device in a page or worker: the one handed in, or one that `navigator.gpu` offers. */
export async function openDevice(options: OpenDeviceOptions = {}): Promise<Gpu> {
  const announce = options.announce ?? ((line: string) => console.warn(line));
  if (options.device) {
    const gpu = adoptDevice(options.device, options);
    announceSoftware(gpu.adapter, announce);
    return gpu;
  }
  const choice = options.adapter ?? 'auto';
  const webgpu = typeof navigator === 'undefined' ? undefined : (navigator.gpu as GPU | undefined);
  if (!webgpu) {
    const insecure = typeof isSecureContext !== 'undefined' && !isSecureContext;
    throw new SgpSamError(
      'no-adapter',
      insecure ? 'WebGPU is only offered to secure pages and this one is not' : 'this browser has no WebGPU',
      insecure
        ? 'Serve the page over https, or from http://localhost.'
        : 'Use a current Chrome, Edge, Safari or Firefox, with hardware acceleration turned on.',
    );
  }
  const wantsSoftware = choice !== 'auto' && choice !== 'hardware';
  const adapter = await webgpu.requestAdapter(
    wantsSoftware ? { forceFallbackAdapter: true } : { powerPreference: 'high-performance' },
  );
  const named = choice === 'lavapipe' || choice === 'swiftshader';
  if (!adapter || (named && softwareName(adapter.info) !== choice)) {
    throw new SgpSamError(
      'no-adapter',
      `the browser offers no ${choice === 'auto' ? 'WebGPU' : choice} adapter`,
      'Look at chrome://gpu (about:support in Firefox): the driver may be blocked or missing.',
    );
  }
  const gpu = await openAdapter(adapter, 'browser', options);
  if (choice === 'hardware' && gpu.adapter.kind === 'software') {
    gpu.dispose();
    throw new SgpSamError(
      'no-adapter',
      `hardware was asked for but the browser only offers ${adapterLine(gpu.adapter)}`,
      'Turn on hardware acceleration, or ask for "auto" to accept a software adapter.',
    );
  }
  announceSoftware(gpu.adapter, announce);
  return gpu;
}
