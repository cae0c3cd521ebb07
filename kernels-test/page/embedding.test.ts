/**
 * The embeddable API: the same story in Node's thread and in a page's worker, and what the page's main thread feels of it.
 *
 * @module-tag long
 */
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { applyAffine } from '../../src/imaging/affine.js';
import { readNifti } from '../../src/imaging/nifti.js';
import type { Vec3 } from '../../src/imaging/types.js';
import type { Action } from '../../src/session/lesion-state.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import type { SegmenterOptions } from '../../src/session/segmenter.js';
import { click, dice, phantom, put, writeVolume } from '../cli/support.js';
import { evaluateAsText, findBrowser, loadModule, withPage } from '../support/page.js';
import { testEngine } from '../support/run.js';
import { embeddingScenario } from './embedding.js';

type Client = typeof import('../../src/client.js');
type Bundle = typeof import('../../src/index.js');

const browser = findBrowser();
if (!browser)
  console.log('skipped in a page: no Chromium (optional package @sparticuz/chromium, or the system’s)');

const at = click;
const near: Vec3 = [click[0] + 3, click[1], click[2]];
const mm = applyAffine(phantom.volume.affine, click);
const file = writeVolume(phantom.volume, 'head.nii.gz') as Uint8Array<ArrayBuffer>;
const open = segmenterOpener((options) => openDevice({ ...options, announce: () => {} }));

type Story = Awaited<ReturnType<typeof embeddingScenario>>;

/** Masks of two runs may differ where a probability is within 1e-4 of ½ (kernels-test/page/parity.test.ts says why). */
function expectStory(story: Story): void {
  const { masks, errors } = story;
  expect(story.info).toMatchObject({ sites: [1, 3], trained: false, config: 'tiny' });
  expect(story.info.stages).toEqual(['compile', 'weights']);
  expect(story.volume).toMatchObject({
    name: 'head.nii.gz',
    dims: phantom.volume.dims,
    channels: 1,
    channel: 0,
  });
  expect(masks.first.reduce((a, b) => a + b, 0)).toBe(story.voxels);
  expect(story.voxels).toBeGreaterThan(100);
  expect(masks.undone).toEqual(masks.first);
  expect(masks.redone).toEqual(masks.second);
  expect(masks.second).not.toEqual(masks.first);
  expect(masks.viaMm).toEqual(masks.first);
  expect(masks.boxed).toEqual(masks.first);
  expect(masks.given).toEqual(masks.first);
  expect(masks.closed).not.toEqual(masks.second);
  expect(masks.again).toEqual(masks.second);
  expect(masks.kept).toEqual(masks.second);
  expect(masks.recovered).toEqual(masks.first);
  const { min, max } = story.changed!;
  const [ni, nj] = phantom.volume.dims;
  masks.first.forEach((v, n) => {
    if (v === masks.second[n]) return;
    const voxel = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))];
    expect(voxel.every((c, a) => c >= min[a] && c <= max[a])).toBe(true);
  });
  expect(story.encodes).toEqual([1, 0, 1]);
  expect([story.timings, story.progress]).toEqual([true, true]);
  expect(errors).toEqual({
    outside: 'bad-prompt',
    first: 'bad-prompt',
    stopped: 'aborted',
    size: 'bad-argument',
    file: 'bad-file',
    gates: 'bad-argument',
    unknown: 'bad-argument',
    wrong: 'bad-argument',
    after: 'bad-argument',
    badZoom: 'bad-argument',
  });
  const { zoomed } = story;
  expect([zoomed.info, zoomed.zoom.setting]).toEqual(['auto', 'auto']);
  expect(zoomed.encodes).toBe(zoomed.zoom.tried.length);
  for (const { message } of zoomed.warnings) expect(message).toMatch(/\.$/);
  expect(story.handles).toEqual({
    removed: 'bad-argument',
    again: 0,
    disposed: 'bad-argument',
    volume: 'bad-argument',
    nothing: 'bad-argument',
    label: 'bad-prompt',
    place: 'bad-prompt',
    settings: 'bad-argument',
  });
  expect(story.empties).toBeGreaterThan(100);
  expect(story.stays).toBe(true);
  // Stopped, or refused because it came too late; an opening may have been done just before.
  expect(['aborted', 'bad-argument']).toContain(story.ends[0]);
  expect(['none', 'bad-argument']).toContain(story.ends[1]);
  expect(story.loss).toEqual(['device-lost', 'device-lost', 'device-lost']);
  expect(story.probabilities).toHaveLength(phantom.volume.data.length);
  expect(story.image).toBeGreaterThan(phantom.volume.data.length);
}

async function expectSaved(story: Story): Promise<void> {
  const { data, affine } = await readNifti(Uint8Array.from(story.saved), { name: 'lesions.nii' });
  // 'b' lies on top of 'a', which it equals but for the second click.
  const want = story.masks.second.map((v, n) => (story.masks.viaMm[n] ? 2 : v));
  expect([...data]).toEqual(want);
  expect([...affine]).toEqual([...phantom.volume.affine]);
}

let inNode: Story;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-embedding-'));
  inNode = await embeddingScenario({ open: open as never, file, at, near, mm });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test('the story in Node', async () => {
  expectStory(inNode);
  await expectSaved(inNode);
});

test('weights as bytes, a Blob and a stream are the same, and a damaged stream says what is wrong', async () => {
  const bytes = readFileSync('weights/sgp-small.safetensors');
  const blob = new Blob([bytes]);
  const masks = [];
  for (const weights of [new Uint8Array(bytes), blob, blob.stream()]) {
    const segmenter = await open({ weights, device: (await testEngine()).device });
    const volume = await segmenter.openVolume(file, { name: 'head' });
    masks.push((await volume.lesion('a').addPoint({ ijk: at })).mask);
    expect(segmenter.info).toMatchObject({ trained: true, estimatesIou: true, sites: [1, 3] });
    await segmenter.dispose();
  }
  expect(masks[1]).toEqual(masks[0]);
  expect(masks[2]).toEqual(masks[0]);
  const broken = open({ weights: blob.slice(0, 5000).stream() });
  await expect(broken).rejects.toMatchObject({ code: 'bad-file' });
  // The check is for every kind, and a stream that stalls can be left.
  for (const weights of [new Uint8Array(bytes), blob, blob.stream()])
    await expect(open({ weights, sha256: '0'.repeat(64) })).rejects.toMatchObject({
      code: 'bad-file',
      message: expect.stringMatching(/SHA-256 is/),
    });
  const stalled = open({ weights: new ReadableStream(), signal: AbortSignal.timeout(50) });
  await expect(stalled).rejects.toMatchObject({ code: 'aborted' });
  await expect(open({ weights: 'no/address' })).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(open({ weights: 'formula:sgp-tiny', gates: ['shut' as 'auto'] })).rejects.toMatchObject({
    code: 'bad-argument',
  });
});

test('after a loss, recovery does not hang on the signal that the opening had', async () => {
  const controller = new AbortController();
  const segmenter = await open({ weights: 'formula:sgp-tiny', signal: controller.signal });
  const volume = await segmenter.openVolume(file, { name: 'head' });
  await volume.lesion('a').addPoint({ ijk: at });
  controller.abort();
  await segmenter.loseDevice();
  // Stopped, it can be tried again, and the loss is still told.
  await expect(segmenter.recover({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  expect((await segmenter.lost).code).toBe('device-lost');
  await segmenter.recover();
  expect((await volume.lesion('a').addPoint({ ijk: near, label: 0 })).clicks).toHaveLength(2);
  await segmenter.dispose();
});

test('a box in the world holds all of its corners on an oblique grid', async () => {
  const segmenter = await open({ weights: 'formula:sgp-tiny' });
  const [c, s] = [Math.cos(0.6), Math.sin(0.6)];
  const data = Float32Array.from({ length: 64 ** 3 }, (_, n) => 100 + (n % 64));
  const affine = [c, -s, 0, 0, s, c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const volume = await segmenter.openVolume({ data, dims: [64, 64, 64], affine });
  const at = (i: number, j: number, k: number) => [c * i - s * j, s * i + c * j, k] as const;
  const [x, y, z] = at(32, 32, 32);
  await volume.lesion('a').addBox({
    mm: [
      [x - 8, y - 8, z - 8],
      [x + 8, y + 8, z + 8],
    ],
  });
  const [action] = await volume.lesion('a').actions();
  const box = (action as Extract<Action, { type: 'box' }>).box;
  const reach = 8 * (c + s);
  expect(box.min[0]).toBeCloseTo(32 - reach, 3);
  expect(box.max[1]).toBeCloseTo(32 + reach, 3);
  expect(box.max[2]).toBeCloseTo(40, 6);
  await segmenter.dispose();
});

test('disposing gives back every buffer, on a host’s device too, which stays alive', async () => {
  const { device } = await testEngine();
  const live = new Set<GPUBuffer>();
  let most = 0;
  const { createBuffer } = device;
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    live.add(buffer);
    most = Math.max(most, live.size);
    const { destroy } = buffer;
    buffer.destroy = () => {
      live.delete(buffer);
      return destroy.call(buffer);
    };
    return buffer;
  };
  try {
    for (let round = 0; round < 2; round++) {
      const segmenter = await open({ weights: 'formula:sgp-tiny', device });
      const held: number[] = [];
      for (let visit = 0; visit < 4; visit++) {
        const volume = await segmenter.openVolume(file, { name: 'head' });
        await volume.lesion('a').addPoint({ ijk: at });
        await volume.lesion('b').addPoint({ ijk: near });
        await volume.dispose();
        const { buffers } = await segmenter.memory();
        held.push(buffers);
      }
      // No visit leaves anything; a decoder for more points, made while nobody waits, may come once.
      expect(new Set(held).size, held.join()).toBeLessThanOrEqual(2);
      expect(held).toEqual(held.toSorted((a, b) => a - b));
      expect(held.at(-1)! - held[0]).toBeLessThan(25);
      await segmenter.dispose();
      await segmenter.dispose(); // once more does nothing
      expect(live.size).toBe(0);
    }
    expect(most).toBeGreaterThan(10);
  } finally {
    device.createBuffer = createBuffer;
  }
  expect((await testEngine()).gpu.isLost).toBe(false);
});

describe('in a page', () => {
  test('what a page loads is small: the client, the worker, the NiiVue adapter', () => {
    const kib = (name: string) => gzipSync(readFileSync(resolve('dist', name)), { level: 9 }).length / 1024;
    const sizes = ['client.js', 'worker.js', 'niivue.js'].map((name) => [name, kib(name)] as const);
    console.log(sizes.map(([name, size]) => `${name} ${size.toFixed(1)} KiB gzipped`).join(', '));
    expect(sizes.reduce((sum, [, size]) => sum + size, 0)).toBeLessThanOrEqual(150);
    expect(kib('client.js')).toBeLessThanOrEqual(5);
  });

  test.skipIf(!browser)(
    'the same story in a worker',
    async () => {
      put(scratch, 'head.nii.gz', file);
      const story = await withPage(
        async (page) => {
          await loadModule(page, '/dist/client.js', 'client');
          return evaluateAsText(
            page,
            async ({ code, at, near, mm }) => {
              // Not bundled with the page: the scenario comes as text.
              const scenario = new Function(`return ${code}`)() as typeof embeddingScenario;
              const { openWorkerSegmenter } = (globalThis as unknown as { client: Client }).client;
              const file = new Uint8Array(await (await fetch('/own/head.nii.gz')).arrayBuffer());
              return scenario({ open: openWorkerSegmenter, file, at, near, mm });
            },
            { code: embeddingScenario.toString(), at, near, mm },
          );
        },
        { serve: { '/dist/': 'dist', '/own/': scratch } },
      );
      expectStory(story);
      await expectSaved(story);
      expect(story.volume).toEqual(inNode.volume);
      expect(story.open).toEqual(inNode.open);
      let wrong = 0;
      let worst = 0;
      inNode.probabilities.forEach((p, n) => {
        worst = Math.max(worst, Math.abs(p - story.probabilities[n]));
        if (inNode.masks.first[n] !== story.masks.first[n] && Math.abs(p - 0.5) > 1e-4) wrong++;
      });
      console.log(`page and Node: probabilities differ by at most ${worst.toExponential(1)}`);
      expect(worst).toBeLessThan(1e-4);
      expect(wrong).toBe(0);
      // The same scales for the same reasons, and masks as alike.
      const scales = ({ zoomed }: Story) => zoomed.zoom.tried.map(({ spacing }) => +spacing.toPrecision(3));
      expect(scales(story)).toEqual(scales(inNode));
      expect(story.zoomed.zoom.why.code).toBe(inNode.zoomed.zoom.why.code);
      expect(story.zoomed.warnings.map(({ code }) => code)).toEqual(
        inNode.zoomed.warnings.map(({ code }) => code),
      );
      expect(dice(story.zoomed.mask, inNode.zoomed.mask)).toBeGreaterThan(0.999);
    },
    300_000,
  );

  test.skipIf(!browser)(
    'weights are fetched once, checked, and there without a network; a host sees it',
    async () => {
      const weights = readFileSync('weights/sgp-small.safetensors');
      put(scratch, 'small.safetensors', weights);
      put(scratch, 'broken.safetensors', weights.subarray(0, 1000));
      const { createHash } = await import('node:crypto');
      const sha256 = createHash('sha256').update(weights).digest('hex');
      const seen = await withPage(
        async (page, url) => {
          await loadModule(page);
          const requests: string[] = [];
          page.on('request', (request) => requests.push(request.url()));
          const load = (name: string, sum?: string) =>
            page.evaluate(
              async ([name, sum]) => {
                const { fetchWeights } = (globalThis as unknown as { bundle: Bundle }).bundle;
                const steps: number[] = [];
                try {
                  const source = await fetchWeights(`/own/${name}`, {
                    sha256: sum || undefined,
                    progress: ({ done, total }) => steps.push(done / total),
                  });
                  const bytes = await source.read(source.size - 4, 4);
                  return { size: source.size, last: [...bytes], steps: steps.length, end: steps.at(-1) };
                } catch (error) {
                  return { code: (error as { code: string }).code, message: (error as Error).message };
                }
              },
              [name, sum ?? ''] as const,
            );
          const first = await load('small.safetensors', sha256.toUpperCase());
          const asked = () => requests.filter((one) => one.startsWith(`${url}own/`)).length;
          const fetched = asked();
          const second = await load('small.safetensors', sha256);
          const third = await load('small.safetensors');
          const again = asked();
          await page.context().setOffline(true);
          const offline = await load('small.safetensors');
          const nowhere = await load('other.safetensors');
          await page.context().setOffline(false);
          const changed = await load('broken.safetensors', sha256);
          const missing = await load('other.safetensors');
          const kept = await page.evaluate(async () =>
            (await (await caches.open('sgp-sam-weights')).keys()).map(
              (request) => new URL(request.url).pathname,
            ),
          );
          return { first, fetched, second, third, again, offline, nowhere, changed, missing, kept };
        },
        { serve: { '/dist/': 'dist', '/own/': scratch } },
      );
      const want = { size: weights.length, last: [...weights.subarray(-4)] };
      expect(seen.first).toMatchObject({ ...want, end: 1 });
      expect(seen.fetched).toBe(1);
      for (const cached of [seen.second, seen.third, seen.offline])
        expect(cached).toMatchObject({ ...want, steps: 0 });
      expect(seen.again).toBe(1);
      expect(seen.nowhere).toMatchObject({
        code: 'bad-file',
        message: expect.stringMatching(/could not be fetched/),
      });
      expect(seen.changed).toMatchObject({
        code: 'bad-file',
        message: expect.stringMatching(/SHA-256 is [0-9a-f]{64}/),
      });
      expect(seen.missing).toMatchObject({
        code: 'bad-file',
        message: expect.stringMatching(/answered 404/),
      });
      // What failed was not kept.
      expect(seen.kept).toEqual(['/own/small.safetensors']);
    },
  );

  test.skipIf(!browser)('the main thread is never blocked while a volume is encoded', async () => {
    put(scratch, 'head.nii.gz', file);
    const spent = await withPage(
      async (page) => {
        await loadModule(page, '/dist/client.js', 'client');
        return page.evaluate(async (at) => {
          // All that the engine does in this thread is to send and to receive: the longest turn of either.
          let longest = 0;
          let turns = 0;
          const timed = <A extends unknown[]>(work: (...args: A) => void) =>
            function (this: unknown, ...args: A) {
              const from = performance.now();
              work.apply(this, args);
              longest = Math.max(longest, performance.now() - from);
              turns++;
            };
          const { postMessage, addEventListener } = Worker.prototype;
          Worker.prototype.postMessage = timed(
            postMessage as (...args: unknown[]) => void,
          ) as typeof postMessage;
          Worker.prototype.addEventListener = function (this: Worker, type: string, listener: unknown) {
            addEventListener.call(this, type, timed(listener as (event: Event) => void) as EventListener);
          } as typeof addEventListener;
          const { openWorkerSegmenter } = (globalThis as unknown as { client: Client }).client;
          const segmenter = await openWorkerSegmenter({
            weights: 'formula:sgp-tiny',
          } satisfies SegmenterOptions);
          const bytes = await (await fetch('/own/head.nii.gz')).arrayBuffer();
          const volume = await segmenter.openVolume(bytes, { name: 'head.nii.gz' });
          let frames = 0;
          let going = true;
          const count = () => {
            frames++;
            if (going) requestAnimationFrame(count);
          };
          requestAnimationFrame(count);
          const begin = performance.now();
          const { encodes, mask } = await volume.lesion('a').addPoint({ ijk: at }, { progress: () => {} });
          going = false;
          return { frames, all: performance.now() - begin, encodes, turns, longest, voxels: mask.length };
        }, at);
      },
      { serve: { '/dist/': 'dist', '/own/': scratch } },
    );
    const { encodes, all, turns, longest, frames } = spent;
    console.log(
      `${encodes} regions in ${all.toFixed(0)} ms: the longest of ${turns} turns on the main thread took ${longest.toFixed(1)} ms; ${frames} frames`,
    );
    expect(encodes).toBeGreaterThan(0);
    expect(turns).toBeGreaterThan(5);
    expect(longest).toBeLessThan(50);
    expect(frames).toBeGreaterThan(1);
  });
});
