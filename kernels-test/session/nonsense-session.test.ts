/** Nonsense for what a segmenter hands out: in this thread, and behind a worker's messages. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ErrorCode, SgpSamError } from '../../src/base/errors.js';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import type { Lesion, Segmenter, SegmenterVolume } from '../../src/session/segmenter.js';
import { openWorkerSegmenter } from '../../src/session/worker-client.js';
import { serveSegmenter } from '../../src/session/worker-server.js';
import { testAdapter } from '../support/gpu.js';

/** A page's Worker over a pair of ports: what is sent is cloned, as between threads. */
class PortWorker extends EventTarget {
  private readonly channel = new MessageChannel();
  constructor() {
    super();
    this.channel.port1.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent('message', { data }));
    const { port2 } = this.channel;
    serveSegmenter(port2 as never, segmenterOpener(openDevice));
    port2.start();
  }
  postMessage(data: unknown): void {
    this.channel.port1.postMessage(data);
  }
  terminate(): void {
    this.channel.port1.close();
  }
}

const { volume } = makePhantom({ seed: 3, dims: [24, 24, 24], spacing: [3, 3, 3] });
const { data, dims } = volume;
const options = { weights: 'formula:sgp-tiny', adapter: testAdapter() } as const;

async function refused(name: string, call: () => unknown, code?: ErrorCode): Promise<SgpSamError> {
  let error: unknown;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  expect(error, name).toBeInstanceOf(SgpSamError);
  if (code) expect((error as SgpSamError).code, `${name}: ${error}`).toBe(code);
  return error as SgpSamError;
}

type Nonsense = readonly [name: string, call: (lesion: Lesion) => unknown, code: ErrorCode, says: RegExp];
const any = (value: unknown) => value as never;
const middle = [12, 12, 12] as const;

const ON_LESIONS: readonly Nonsense[] = [
  ['addPoint(null)', (l) => l.addPoint(any(null)), 'bad-prompt', /addPoint: point is null/],
  ['addPoint(undefined)', (l) => l.addPoint(any(undefined)), 'bad-prompt', /point is undefined/],
  ['addPoint({})', (l) => l.addPoint(any({})), 'bad-prompt', /neither ijk nor mm/],
  ['ijk and mm', (l) => l.addPoint(any({ ijk: middle, mm: [0, 0, 0] })), 'bad-prompt', /both ijk and mm/],
  ['ijk: null', (l) => l.addPoint(any({ ijk: null })), 'bad-prompt', /three finite numbers/],
  [
    'ijk: NaN',
    (l) => l.addPoint({ ijk: [1, Number.NaN, 2] }),
    'bad-prompt',
    /\[1, NaN, 2\].*\n.*three finite/,
  ],
  ['ijk: two', (l) => l.addPoint(any({ ijk: [1, 2] })), 'bad-prompt', /three finite numbers/],
  ['mm: text', (l) => l.addPoint(any({ mm: 'abc' })), 'bad-prompt', /'abc'/],
  ['mm: Infinity', (l) => l.addPoint({ mm: [Number.POSITIVE_INFINITY, 0, 0] }), 'bad-prompt', /Infinity/],
  ['label 2', (l) => l.addPoint(any({ ijk: middle, label: 2 })), 'bad-prompt', /label is 2/],
  ['options null', (l) => l.addPoint({ ijk: middle }, any(null)), 'bad-argument', /options is null/],
  ['signal {}', (l) => l.addPoint({ ijk: middle }, any({ signal: {} })), 'bad-argument', /signal/],
  ['progress 5', (l) => l.addPoint({ ijk: middle }, any({ progress: 5 })), 'bad-argument', /progress is 5/],
  ['addBox(null)', (l) => l.addBox(any(null)), 'bad-prompt', /addBox: box is null/],
  ['addBox one corner', (l) => l.addBox(any({ ijk: [middle] })), 'bad-prompt', /corner is undefined/],
  ['addBox NaN', (l) => l.addBox({ mm: [[0, 0, Number.NaN], middle] }), 'bad-prompt', /NaN/],
  [
    'addBox both',
    (l) => l.addBox(any({ ijk: [middle, middle], mm: [middle, middle] })),
    'bad-prompt',
    /both/,
  ],
  ['setMask(null)', (l) => l.setMask(any(null)), 'bad-argument', /mask is null/],
  ['setMask(5)', (l) => l.setMask(any(5)), 'bad-argument', /mask is 5/],
  ['setMask({})', (l) => l.setMask(any({})), 'bad-argument', /mask/],
  ['setMask({dims})', (l) => l.setMask(any({ dims: null })), 'bad-argument', /mask.dims is null/],
  ['setMask box', (l) => l.setMask(any({ dims, box: 5, values: [] })), 'bad-argument', /mask.box/],
  ['setMask short', (l) => l.setMask(new Uint8Array(3)), 'bad-argument', /3 voxels/],
  ['preview(null)', (l) => l.preview(any(null)), 'bad-argument', /gates is null/],
  ['preview x', (l) => l.preview(any(['x'])), 'bad-argument', /'x'/],
  ['recompute(null)', (l) => l.recompute(any(null)), 'bad-argument', /options is null/],
  ['apply(null)', (l) => l.apply(any(null)), 'bad-prompt', /action is null/],
  ['apply zzz', (l) => l.apply(any({ type: 'zzz' })), 'bad-prompt', /action.type is 'zzz'/],
  ['apply click', (l) => l.apply(any({ type: 'click' })), 'bad-prompt', /action.click is undefined/],
  ['apply at', (l) => l.apply(any({ type: 'click', click: { at: [1] } })), 'bad-prompt', /click.at/],
  ['apply box', (l) => l.apply(any({ type: 'box', box: { min: [1, 1, 1] } })), 'bad-prompt', /box.max/],
  [
    'apply a reversed box',
    (l) => l.apply({ type: 'box', box: { min: [9, 9, 9], max: [3, 9, 9] } }),
    'bad-prompt',
    /min 9,9,9 lies beyond box.max 3,9,9/,
  ],
  ['apply mask', (l) => l.apply(any({ type: 'mask' })), 'bad-argument', /mask is undefined/],
];

/** An image as cornerstone3D has it. */
const host = {
  scalars: data,
  dimensions: dims,
  spacing: [1, 1, 1],
  origin: [0, 0, 0],
  direction: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  space: 'LPS',
};

const VOLUMES: readonly (readonly [string, unknown, RegExp])[] = [
  ['null', null, /volume is null/],
  ['undefined', undefined, /volume is undefined/],
  ['a number', 5, /volume is 5/],
  ['an address', 'http://x/y.nii', /volume is 'http/],
  ['{}', {}, /neither a file nor/],
  ['data only', { data }, /dims is undefined/],
  ['data: 5', { data: 5, dims }, /data is 5/],
  ['dims: -1', { data, dims: [-1, 24, 24] }, /dims is \[-1, 24, 24\]/],
  ['dims: fraction', { data, dims: [0.5, 24, 24] }, /dims is/],
  ['spacing 0', { data, dims, spacing: [0, 1, 1] }, /spacing is \[0, 1, 1\]/],
  ['spacing NaN', { data, dims, spacing: [Number.NaN, 1, 1] }, /spacing/],
  ['affine {}', { data, dims, affine: {} }, /affine/],
  ['affine text', { data, dims, affine: 'x' }, /affine/],
  ['scalars alone', { scalars: data }, /dimensions is undefined/],
  ['scalars without space', { ...host, space: undefined }, /space is undefined/],
  ['scalars that do not fill', { ...host, scalars: data.subarray(1) }, /do not fill/],
  ['a flat direction', { ...host, direction: [1, 0, 0, 1, 0, 0, 0, 0, 1] }, /singular/],
];

describe.each([
  ['in this thread', () => segmenterOpener(openDevice)(options)],
  ['behind a worker', () => openWorkerSegmenter({ ...options, worker: new PortWorker() as never })],
])('%s', (_, open) => {
  let segmenter: Segmenter;
  let opened: SegmenterVolume;
  beforeAll(async () => {
    (globalThis as { Worker?: unknown }).Worker = PortWorker;
    segmenter = await open();
    opened = await segmenter.openVolume({ data, dims, spacing: [3, 3, 3] });
  });
  afterAll(async () => {
    await segmenter.dispose();
    delete (globalThis as { Worker?: unknown }).Worker;
  });

  test.each(ON_LESIONS)('%s', async (name, call, code, says) => {
    const error = await refused(name, () => call(opened.lesion('a')), code);
    expect(error.message).toMatch(says);
    expect(error.mend ?? '').toMatch(/^|\w/);
  });

  test.each(VOLUMES)('openVolume: %s', async (name, value, says) => {
    const error = await refused(name, () => segmenter.openVolume(value as never), 'bad-argument');
    expect(error.message).toMatch(says);
  });

  test('openVolume: options', async () => {
    const bytes = { data, dims };
    for (const wrong of [null, 5, { name: 5 }, { signal: 5 }, { progress: 'x' }])
      await refused(String(wrong), () => segmenter.openVolume(bytes, wrong as never), 'bad-argument');
    for (const channel of ['x', Number.NaN, -1, 0.5, null])
      await refused(`${channel}`, () => segmenter.openVolume(new Uint8Array(9), { channel } as never));
  });

  test('names, gates and options', async () => {
    for (const names of [null, 5, 'a', {}, ['nobody'], [5]])
      await refused(`save ${names}`, () => opened.save(names as never), 'bad-argument');
    for (const name of [null, 5, {}])
      await refused(`lesion ${name}`, () => opened.lesion(name as never).state());
    for (const gates of [null, 'open', {}, [1], ['x'], ['auto', 'auto', 'auto', 'auto', 'auto']])
      await refused(`setGates ${gates}`, () => segmenter.setGates(gates as never), 'bad-argument');
    for (const own of [null, 5])
      await refused(`recover ${own}`, () => segmenter.recover(own as never), 'bad-argument');
  });

  test('after all of that it still segments, and a box may have its corners in any order', async () => {
    const lesion = opened.lesion('b');
    const straight = await lesion.addBox({
      ijk: [
        [8, 8, 8],
        [14, 14, 14],
      ],
    });
    await lesion.reset();
    const reversed = await lesion.addBox({
      ijk: [
        [14, 8, 14],
        [8, 14, 8],
      ],
    });
    expect(reversed.voxels).toBe(straight.voxels);
    expect(reversed.mask).toEqual(straight.mask);
  });
});

test('openWorkerSegmenter given nonsense', async () => {
  (globalThis as { Worker?: unknown }).Worker = PortWorker;
  for (const wrong of [null, undefined, 5, {}, { weights: null }, { weights: {}, worker: new PortWorker() }])
    await refused(String(wrong), () => openWorkerSegmenter(wrong as never), 'bad-argument');
  // What cannot be sent: a function where data belongs.
  await refused(
    'gates',
    () => openWorkerSegmenter({ ...options, worker: new PortWorker(), gates: [() => 1] } as never),
    'bad-argument',
  );
  delete (globalThis as { Worker?: unknown }).Worker;
});
