/** The table of methods: its rows are their signatures', and calls cross to a worker as it says. Nothing computes here. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';
import { volumeHandle } from '../../src/session/handles.js';
import {
  type Lesion,
  lesionMethods,
  type MethodTable,
  type Segmenter,
  type SegmenterVolume,
  segmenterMethods,
  type VolumeInfo,
  volumeMethods,
} from '../../src/session/segmenter.js';
import { openWorkerSegmenter, type WorkerSegmenter } from '../../src/session/worker-client.js';
import { serveSegmenter } from '../../src/session/worker-server.js';

/** Compiled, not run: what a row says follows from the method's signature. */
void [
  { options: 1, result: 'state' } satisfies MethodTable<Lesion>['addPoint'],
  // @ts-expect-error it takes options
  { result: 'state' } satisfies MethodTable<Lesion>['addPoint'],
  // @ts-expect-error they are the second argument
  { options: 0, result: 'state' } satisfies MethodTable<Lesion>['addPoint'],
  // @ts-expect-error it gives a state
  { options: 1 } satisfies MethodTable<Lesion>['addPoint'],
  // @ts-expect-error it takes no options
  { options: 0, result: 'state' } satisfies MethodTable<Lesion>['undo'],
  // @ts-expect-error it gives a file
  {} satisfies MethodTable<SegmenterVolume>['save'],
  // @ts-expect-error it gives no file
  { result: 'file' } satisfies MethodTable<SegmenterVolume>['remove'],
  // @ts-expect-error it gives a volume
  { options: 1 } satisfies MethodTable<Segmenter>['openVolume'],
  // @ts-expect-error a method is missing
  { image: { result: 'file' }, save: { result: 'file' }, dispose: {} } satisfies MethodTable<SegmenterVolume>,
];

type Asked = [method: string, args: readonly unknown[], options: object | undefined];

const info = { name: 'scan', dims: [2, 2, 2] } as unknown as VolumeInfo;
const crop = { dims: [2, 2, 2], box: undefined, values: new Uint8Array(0) };

/** A segmenter that only writes down what it is asked, behind a pair of ports. */
class Served {
  readonly asked: Asked[] = [];
  readonly transfers: Transferable[][] = [];
  /** What the next call on a lesion or volume gives. */
  answer: unknown = { crop };
  lose: (error: SgpSamError) => void = () => {};
  readonly channel = new MessageChannel();
  segmenter!: WorkerSegmenter;

  readonly own = {
    info: { weights: 'first' },
    lost: this.newLoss(),
    inTurn: (work: () => unknown) => work(),
    openVolume: async (...args: unknown[]) => {
      this.asked.push(['openVolume', args.slice(0, 1), args[1] as object]);
      return volumeHandle(info, (lesion) => async (method, given, options) => {
        this.asked.push([lesion ? `${lesion.name}.${method}` : method, given, options]);
        return this.answer;
      });
    },
    setGates: async (gates: unknown) => {
      this.asked.push(['setGates', [gates], undefined]);
    },
    memory: async () => ({ bytes: 1, peakBytes: 2, buffers: 3 }),
    recover: async () => {
      this.own.info = { weights: 'second' };
      this.own.lost = this.newLoss();
    },
    dispose: async () => {},
  };

  private newLoss(): Promise<SgpSamError> {
    return new Promise((resolve) => {
      this.lose = resolve;
    });
  }

  async open(): Promise<void> {
    const { port1, port2 } = this.channel;
    const port = {
      postMessage: (message: unknown, transfer: Transferable[]) => {
        if (transfer.length > 0) this.transfers.push(transfer);
        port2.postMessage(message, transfer);
      },
      addEventListener: port2.addEventListener.bind(port2),
    };
    serveSegmenter(port as never, async () => this.own as never, { extras: { echo: (_, args) => args } });
    port2.start();
    const worker = Object.assign(Object.create(globalThis.Worker.prototype), {
      postMessage: (message: unknown) => port1.postMessage(message),
      addEventListener: (type: string, listener: (event: MessageEvent) => void) => {
        if (type === 'message') port1.addEventListener('message', listener as never);
      },
    });
    port1.start();
    this.segmenter = await openWorkerSegmenter({ weights: 'formula:tiny', worker });
  }

  /** Sends a call as no client of ours would. */
  raw(target: object, method: string): Promise<{ error?: { message: string } }> {
    const { port1 } = this.channel;
    return new Promise((resolve) => {
      const listener = ({ data }: MessageEvent) => {
        if (data.id !== -1) return;
        port1.removeEventListener('message', listener);
        resolve(data);
      };
      port1.addEventListener('message', listener);
      port1.postMessage({ id: -1, target, method, args: [], options: {}, progress: false });
    });
  }
}

let served: Served;
beforeEach(async () => {
  (globalThis as { Worker?: unknown }).Worker = class {};
  served = new Served();
  await served.open();
});
afterEach(() => {
  served.channel.port1.close();
  delete (globalThis as { Worker?: unknown }).Worker;
});

test('every method of the tables arrives under its own name, with its arguments and options', async () => {
  const volume = await served.segmenter.openVolume(new Uint8Array(1), { channel: 2 });
  expect(volume.info).toEqual(info);
  const lesion = volume.lesion('a');
  const options = { probabilities: true };
  for (const [name, row] of Object.entries(lesionMethods)) {
    const args = ['x', 'y'].slice(0, row.options ?? 1);
    const given = row.options === undefined ? args : [...args, options];
    await (lesion as unknown as Record<string, (...a: unknown[]) => unknown>)[name](...given);
    const [method, arrived, own] = served.asked.at(-1)!;
    expect([method, arrived]).toEqual([`a.${name}`, args]);
    if (row.options === undefined) expect(own).toBeUndefined();
    else expect(own).toMatchObject(options);
  }
  served.answer = new Uint8Array([1, 2, 3]);
  const saving = { segments: { a: { name: 'one' } } };
  expect(await volume.save(['a'], 'x.dcm', saving)).toEqual(new Uint8Array([1, 2, 3]));
  expect(served.asked.at(-1)).toEqual(['save', [['a'], 'x.dcm', saving], undefined]);
  served.answer = new Uint8Array([4]);
  await volume.image();
  served.answer = undefined;
  await volume.remove('a');
  await volume.dispose();
  expect(served.asked.slice(-3).map(([method]) => method)).toEqual(['image', 'remove', 'dispose']);
  await served.segmenter.setGates(['open']);
  expect(served.asked.at(-1)).toEqual(['setGates', [['open']], undefined]);
  expect(await served.segmenter.memory()).toEqual({ bytes: 1, peakBytes: 2, buffers: 3 });
  expect(await served.segmenter.extra('echo', [1, 'b'])).toEqual([1, 'b']);
});

test('files and probabilities are handed over, masks are copied', async () => {
  const volume = await served.segmenter.openVolume(new Uint8Array(1));
  const lesion = volume.lesion('a');
  const values = new Uint8Array([1]);
  const box = { min: [1, 1, 1], max: [1, 1, 1] };
  const probabilities = new Float32Array([0.5]);
  served.answer = { crop: { ...crop, box, values }, probabilities };
  const state = await lesion.addPoint({ ijk: [1, 1, 1] });
  expect(state.probabilities).toEqual(new Float32Array([0.5]));
  // The mask on the grid is made on this side.
  expect([...state.mask]).toEqual([0, 0, 0, 0, 0, 0, 0, 1]);
  expect(Object.keys(state)).not.toContain('mask');
  served.answer = new Uint8Array([7, 8]);
  await volume.image();
  expect(served.transfers.map((list) => list.length)).toEqual([1, 1]);
  expect([values.length, probabilities.length, (served.answer as Uint8Array).length]).toEqual([1, 0, 0]);
});

test('a message reaches nothing that the tables do not have', async () => {
  await served.segmenter.openVolume(new Uint8Array(1));
  const targets = [
    [{}, 'segmenter', segmenterMethods],
    [{ volume: 1 }, 'volume', volumeMethods],
    [{ volume: 1, lesion: 'a' }, 'lesion', lesionMethods],
  ] as const;
  for (const [target, kind, table] of targets) {
    for (const method of ['inTurn', 'constructor', 'toString', '__proto__', 'lesion', 'session']) {
      expect(Object.hasOwn(table, method)).toBe(false);
      const { error } = await served.raw(target, method);
      expect(error?.message).toBe(`a ${kind} has no '${method}'`);
    }
  }
  expect((await served.raw({ volume: 9 }, 'image')).error?.message).toBe('this volume was disposed of');
});

test('after a recovery the page has the new segmenter’s info and waits for its loss', async () => {
  const { segmenter } = served;
  const first = segmenter.lost;
  await segmenter.memory();
  expect([segmenter.info.weights, segmenter.lost === first]).toEqual(['first', true]);
  served.lose(new SgpSamError('device-lost', 'gone'));
  expect((await first).code).toBe('device-lost');
  await segmenter.recover();
  expect(segmenter.info.weights).toBe('second');
  const second = segmenter.lost;
  expect(second).not.toBe(first);
  served.lose(new SgpSamError('device-lost', 'gone again'));
  expect((await second).message).toBe('gone again');
});
