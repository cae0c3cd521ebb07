import { afterAll, afterEach, expect } from 'vitest';
import type { AdapterChoice, DeviceFeatures, Gpu } from '../../src/engine/gpu/device.js';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';

/**
 * The fastest software adapter there is, unless one is chosen: for tests of what is the same on every adapter, such as that
 * a run resumes, and long on SwiftShader.
 */
export const fastAdapter = (): AdapterChoice =>
  (process.env.SGP_SAM_ADAPTER as AdapterChoice | undefined) || 'software';

let opened: Promise<Gpu> | undefined;
const errors: string[] = [];

/** The adapter tests run on: SGP_SAM_ADAPTER, else SwiftShader where its package is, so that runs compare. */
export function testAdapter(): AdapterChoice {
  const chosen = process.env.SGP_SAM_ADAPTER as AdapterChoice | undefined;
  return chosen || (swiftShaderPackage() ? 'swiftshader' : 'auto');
}

/** The device of this test file, with the features that SGP_SAM_FEATURES names, opened once; an error no scope caught fails the test that caused it. */
export function testGpu(): Promise<Gpu> {
  const features = (process.env.SGP_SAM_FEATURES as DeviceFeatures | undefined) || 'all';
  opened ??= openDevice({ adapter: testAdapter(), features, announce: () => {} }).then((gpu) => {
    gpu.device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      errors.push(event.error.message);
    });
    return gpu;
  });
  return opened;
}

afterEach(async () => {
  if (!opened) return;
  const gpu = await opened;
  // Errors arrive with the queue's progress, so let it catch up before judging.
  if (!gpu.isLost) await gpu.wait(gpu.device.queue.onSubmittedWorkDone());
  expect(errors.splice(0), 'uncaptured GPU errors').toEqual([]);
});

afterAll(async () => {
  (await opened)?.dispose();
});
