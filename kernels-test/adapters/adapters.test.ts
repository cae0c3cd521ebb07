import { describe, expect, test } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';
import type { AdapterChoice, Gpu } from '../../src/engine/gpu/device.js';
import {
  adoptDevice,
  checkDefaultLimits,
  DEFAULT_LIMITS,
  describeAdapter,
} from '../../src/engine/gpu/device.js';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';
import { isOldMesa, lavapipeManifest } from '../../src/engine/gpu/node/vulkan.js';
import { proveCompute, timestampStep } from '../../src/engine/gpu/probe.js';

const manifest = lavapipeManifest();
const present = {
  swiftshader: swiftShaderPackage() !== undefined,
  lavapipe: manifest !== undefined && !isOldMesa(manifest),
};
const some: AdapterChoice = present.swiftshader ? 'swiftshader' : 'auto';
for (const [name, there] of Object.entries(present)) {
  if (!there) console.log(`skipped: ${name} is not installed (tools/ci-setup.sh, npm install)`);
}

const quiet = { announce: () => {} };

async function using<T>(gpu: Gpu, body: (gpu: Gpu) => Promise<T> | T): Promise<T> {
  try {
    return await body(gpu);
  } finally {
    gpu.dispose();
  }
}

async function failure(work: Promise<unknown>): Promise<SgpSamError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SgpSamError);
  return error as SgpSamError;
}

describe.each([
  { name: 'swiftshader' as const, subgroupSize: 4, f16: false },
  { name: 'lavapipe' as const, subgroupSize: undefined, f16: true },
])('$name', ({ name, subgroupSize, f16 }) => {
  test.skipIf(!present[name])(
    'opens, is announced in one line, computes, and tells time exactly',
    async () => {
      const lines: string[] = [];
      const gpu = await openDevice({ adapter: name, announce: (line) => lines.push(line) });
      await using(gpu, async () => {
        expect(gpu.adapter).toMatchObject({ kind: 'software', source: name });
        expect(lines).toHaveLength(1);
        expect(lines[0]).not.toContain('\n');
        expect(lines[0]).toContain(gpu.adapter.description);
        expect(gpu.tier).toMatchObject({ f16, subgroups: true, timestamps: true });
        expect(gpu.tier.subgroupMinSize).toBe(subgroupSize ?? gpu.tier.subgroupMaxSize);
        expect(await proveCompute(gpu)).toMatchObject({ ok: true });
        // 65.5 µs if the quantisation were still on.
        expect(await timestampStep(gpu)).toBeLessThan(1000);
      });
    },
  );
});

test.skipIf(!present.swiftshader || !present.lavapipe)('one process holds both, opened at once', async () => {
  const names = ['lavapipe', 'swiftshader', 'lavapipe'] as const;
  const before = { ...process.env };
  const gpus = await Promise.all(names.map((adapter) => openDevice({ adapter, ...quiet })));
  expect(gpus.map((gpu) => gpu.adapter.source)).toEqual(names);
  for (const gpu of gpus) expect((await proveCompute(gpu)).ok).toBe(true);
  for (const gpu of gpus) gpu.dispose();
  expect(process.env).toEqual(before);
});

test('limits and features can be held down to the base tier', async () => {
  const base = await openDevice({ adapter: some, limits: 'default', features: 'none', ...quiet });
  await using(base, async () => {
    for (const [limit, value] of Object.entries(DEFAULT_LIMITS)) {
      expect([limit, base.limits[limit as keyof typeof DEFAULT_LIMITS]]).toEqual([limit, value]);
    }
    expect(base.tier).toEqual({
      f16: false,
      subgroups: false,
      subgroupMinSize: 0,
      subgroupMaxSize: 0,
      timestamps: false,
      subgroupSizeControl: false,
      subgroupMatrices: [],
    });
    expect((await proveCompute(base)).ok).toBe(true);
  });
  await using(await openDevice({ adapter: some, ...quiet }), (raised) => {
    expect(raised.limits.maxBufferSize).toBeGreaterThan(DEFAULT_LIMITS.maxBufferSize);
  });
});

test('an adopted device outlives its handle, and a software one is announced', async () => {
  const owner = await openDevice({ adapter: some, ...quiet });
  await using(owner, async () => {
    const lines: string[] = [];
    const guest = await openDevice({ device: owner.device, announce: (line) => lines.push(line) });
    expect(guest.device).toBe(owner.device);
    expect(guest.adapter).toMatchObject({ source: 'adopted', kind: owner.adapter.kind });
    expect(guest.tier).toEqual(owner.tier);
    expect(lines).toHaveLength(owner.adapter.kind === 'software' ? 1 : 0);
    guest.dispose();
    expect(guest.isLost).toBe(true);
    expect((await proveCompute(owner)).ok).toBe(true);
    expect(adoptDevice(owner.device, { features: 'none' }).tier.subgroups).toBe(false);
  });
});

test('a loss is told as an error, a disposal is not a loss', async () => {
  const doomed = await openDevice({ adapter: some, ...quiet });
  expect(doomed.isLost).toBe(false);
  doomed.device.destroy();
  const error = await doomed.lost;
  expect(error).toBeInstanceOf(SgpSamError);
  expect(error.code).toBe('device-lost');
  expect(doomed.isLost).toBe(true);
  doomed.dispose();

  const kept = await openDevice({ adapter: some, ...quiet });
  kept.dispose();
  kept.dispose();
  const outcome = await Promise.race([kept.lost, kept.device.lost.then((info) => info.reason)]);
  expect(outcome).toBe('destroyed');
});

test('waiting hands on results and failures', async () => {
  await using(await openDevice({ adapter: some, ...quiet }), async (gpu) => {
    await expect(gpu.wait(Promise.resolve(7))).resolves.toBe(7);
    await expect(gpu.wait(Promise.reject(new Error('no')))).rejects.toThrow('no');
    const waits = [1, 2, 3].map((n) => gpu.wait(gpu.device.queue.onSubmittedWorkDone().then(() => n)));
    expect(await Promise.all(waits)).toEqual([1, 2, 3]);
  });
});

test('an unknown adapter is refused, with the names there are', async () => {
  const error = await failure(openDevice({ adapter: 'voodoo' as AdapterChoice }));
  expect(error.code).toBe('bad-argument');
  expect(error.message).toMatch(/"voodoo"[\s\S]*auto, hardware, software, lavapipe, swiftshader/);
});

test('hardware is never replaced by software', async () => {
  const opened = await openDevice({ adapter: 'hardware', ...quiet }).catch((error: unknown) => error);
  if (opened instanceof SgpSamError) {
    expect(opened.code).toBe('no-adapter');
    expect(opened.mend).toBeTruthy();
  } else {
    await using(opened as Gpu, (gpu) => expect(gpu.adapter.kind).toBe('hardware'));
  }
});

test('an adapter below WebGPU’s defaults is refused by the name of the limit', () => {
  const small = { ...DEFAULT_LIMITS, maxComputeWorkgroupStorageSize: 8192 } as unknown as GPUSupportedLimits;
  expect(() => checkDefaultLimits(small, 'Toy')).toThrow(
    /Toy: maxComputeWorkgroupStorageSize is 8192.*16384/,
  );
  expect(() => checkDefaultLimits(DEFAULT_LIMITS as unknown as GPUSupportedLimits, 'Toy')).not.toThrow();
});

test('adapters that do not admit to being software are recognised', () => {
  const info = (description: string) =>
    ({ vendor: '', architecture: '', device: '', description, isFallbackAdapter: false }) as GPUAdapterInfo;
  expect(describeAdapter(info('SwiftShader driver 5.0.0'), 'browser').kind).toBe('software');
  expect(describeAdapter(info('llvmpipe: Mesa 25'), 'system').kind).toBe('software');
  expect(describeAdapter(info('Microsoft Basic Render Driver'), 'system').kind).toBe('software');
  expect(describeAdapter(info('NVIDIA: 580.65 580.65.6.0'), 'system').kind).toBe('hardware');
});
