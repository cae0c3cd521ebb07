/** The page's side: a segmenter whose computing is done in a worker, so that the page never waits for it. */
import { needFields, needOptions } from '../base/arguments.js';
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { CroppedMask } from '../imaging/crop.js';
import type { CallOptions } from './lesion-session.js';
import { type Action, type LesionState, type Segmentation, withMask } from './lesion-state.js';
import {
  type BoxPrompt,
  checkKnown,
  type Lesion,
  type MemoryUse,
  type OpenVolumeOptions,
  type PointPrompt,
  type Segmenter,
  type SegmenterInfo,
  type SegmenterOptions,
  type SegmenterVolume,
  type VolumeInfo,
  type VolumeInput,
} from './segmenter.js';
import { errorOf, type Reply, type Request, type Target } from './worker-protocol.js';

/** Options of a segmenter in a worker. */
export interface WorkerSegmenterOptions extends SegmenterOptions {
  /**
   * The worker, or where its script is (`sgp-sam/worker`, served from the page's own origin); `worker.js` beside this module
   * unless given. One that is handed in is not terminated.
   */
  readonly worker?: Worker | string | URL | undefined;
}

type Work = Pick<CallOptions, 'signal' | 'progress'>;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly progress: Progress | undefined;
  readonly done: () => void;
}

/** Calls into a worker, and their answers. */
class Calls {
  private readonly pending = new Map<number, Pending>();
  private last = 0;
  /** Why nothing is answered any more. */
  private ended: SgpSamError | undefined;
  /** Whether the worker has ever said anything. */
  private heard = false;
  onLost: (error: SgpSamError) => void = () => {};

  constructor(private readonly worker: Worker) {
    worker.addEventListener('message', ({ data }) => this.receive(data));
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.fail(event.message || 'its script could not be loaded');
    });
    worker.addEventListener('messageerror', () => this.fail('a message could not be read'));
  }

  call<R>(target: Target, method: string, args: readonly unknown[], work: Work = {}): Promise<R> {
    const { signal, progress } = work;
    return new Promise<R>((resolve, reject) => {
      if (this.ended) throw this.ended;
      if (signal?.aborted)
        throw new SgpSamError('aborted', 'stopped on request', undefined, { cause: signal.reason });
      const id = ++this.last;
      const onAbort = () => this.worker.postMessage({ abort: id } satisfies Request);
      const request: Request = { id, target, method, args, progress: progress !== undefined };
      try {
        this.worker.postMessage(request);
      } catch (cause) {
        const what = `${method}: an argument cannot be sent to a worker`;
        throw new SgpSamError('bad-argument', what, 'Give data: no functions, no devices.', { cause });
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.pending.set(id, {
        resolve: resolve as (value: unknown) => void,
        reject,
        progress,
        done: () => signal?.removeEventListener('abort', onAbort),
      });
    });
  }

  private receive(data: unknown): void {
    if (typeof data !== 'object' || data === null || !('id' in data || 'lost' in data)) return;
    const reply = data as Reply;
    this.heard = true;
    if ('lost' in reply) {
      this.onLost(errorOf(reply.lost) as SgpSamError);
      return;
    }
    const pending = this.pending.get(reply.id);
    if (!pending) return;
    if ('progress' in reply) {
      pending.progress?.(reply.progress);
      return;
    }
    this.pending.delete(reply.id);
    pending.done();
    if ('error' in reply) pending.reject(errorOf(reply.error));
    else pending.resolve(reply.value);
  }

  private fail(why: string): void {
    const mend = this.heard
      ? 'Open a new one; what was in this one is gone.'
      : 'Serve worker.js of this package from the page’s own origin, and give its address as `worker`.';
    const error = new SgpSamError('worker-failed', `the worker that computes failed: ${why}`, mend);
    this.end(error);
    this.onLost(error);
  }

  /** Nothing is answered any more, nor what was asked before. */
  end(why = new SgpSamError('bad-argument', 'this segmenter was disposed of')): void {
    this.ended ??= why;
    for (const { reject, done } of this.pending.values()) {
      done();
      reject(this.ended);
    }
    this.pending.clear();
  }
}

/** A state as it crossed over: the mask on the grid is made on this side, when asked for. */
const received = <S extends LesionState>(state: S): S => withMask(state);

class WorkerLesion implements Lesion {
  private readonly target: Target;
  /** Why calls are errors: it was removed, or its volume disposed of. */
  gone: string | undefined;

  constructor(
    private readonly calls: Calls,
    volume: number,
    readonly name: string,
  ) {
    this.target = { volume, lesion: name };
  }

  private async call<S extends LesionState>(
    method: string,
    first?: unknown,
    options: CallOptions = {},
  ): Promise<S> {
    needOptions(method, options);
    const { signal, progress, ...plain } = options;
    this.checkHere();
    return received(await this.calls.call<S>(this.target, method, [first, plain], { signal, progress }));
  }

  private checkHere(): void {
    if (this.gone) throw new SgpSamError('bad-argument', `lesion '${this.name}': ${this.gone}`);
  }

  addPoint(point: PointPrompt, options?: CallOptions) {
    return this.call<Segmentation>('addPoint', point, options);
  }

  addBox(box: BoxPrompt, options?: CallOptions) {
    return this.call<Segmentation>('addBox', box, options);
  }

  setMask(mask: Uint8Array | CroppedMask) {
    return this.call('setMask', mask);
  }

  undo() {
    return this.call('undo');
  }

  redo() {
    return this.call('redo');
  }

  reset() {
    return this.call('reset');
  }

  state() {
    return this.call('state');
  }

  preview(gates: readonly GateSetting[], options?: CallOptions) {
    return this.call('preview', gates, options);
  }

  async recompute(options: CallOptions = {}) {
    needOptions('recompute', options);
    const { signal, progress } = options;
    this.checkHere();
    return received(await this.calls.call<LesionState>(this.target, 'recompute', [{}], { signal, progress }));
  }

  async actions() {
    this.checkHere();
    return this.calls.call<readonly Action[]>(this.target, 'actions', []);
  }

  apply(action: Action, options?: CallOptions) {
    return this.call('apply', action, options);
  }
}

class WorkerVolume implements SegmenterVolume {
  private readonly lesions = new Map<string, WorkerLesion>();
  private disposed = false;

  constructor(
    private readonly calls: Calls,
    private readonly volume: number,
    readonly info: VolumeInfo,
  ) {}

  private checkOpen(): void {
    if (this.disposed) throw new SgpSamError('bad-argument', 'this volume was disposed of');
  }

  lesion(name: string): Lesion {
    this.checkOpen();
    let lesion = this.lesions.get(name);
    if (!lesion) {
      lesion = new WorkerLesion(this.calls, this.volume, name);
      this.lesions.set(name, lesion);
    }
    return lesion;
  }

  private async call<R>(method: string, ...args: unknown[]): Promise<R> {
    this.checkOpen();
    return this.calls.call<R>({ volume: this.volume }, method, args);
  }

  remove(name: string): Promise<void> {
    const lesion = this.lesions.get(name);
    if (lesion) lesion.gone = 'it was removed';
    this.lesions.delete(name);
    return this.call('remove', name);
  }

  image() {
    return this.call<Uint8Array<ArrayBuffer>>('image');
  }

  async save(names: readonly string[], fileName?: string) {
    checkKnown(names, this.lesions);
    return this.call<Uint8Array<ArrayBuffer>>('save', names, fileName);
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    const done = this.call<void>('dispose');
    this.disposed = true;
    for (const lesion of this.lesions.values()) lesion.gone = 'its volume was disposed of';
    this.lesions.clear();
    return done;
  }
}

/** A segmenter that computes in a worker. */
export class WorkerSegmenter implements Segmenter {
  private lostNow!: Promise<SgpSamError>;
  /** The newest loss: of a device that came after the one that `lostNow` is about, until that is known here. */
  private lastLoss: SgpSamError | undefined;
  private disposing: Promise<void> | undefined;

  private constructor(
    private readonly calls: Calls,
    private current: SegmenterInfo,
    private readonly end: () => void,
  ) {
    this.watch();
  }

  /**
   * Starts the worker and opens weights and a device in it.
   * @throws SgpSamError `bad-file`, `bad-weights`, `no-adapter`, `adapter-limit`, `aborted`; `worker-failed` where the
   *   script cannot be loaded
   */
  static async open(options: WorkerSegmenterOptions): Promise<WorkerSegmenter> {
    needFields('openWorkerSegmenter: options', options, 'weights');
    needOptions('openWorkerSegmenter', options);
    const {
      worker: given,
      signal,
      progress,
      weights,
      adapterWeights,
      deltaWeights = adapterWeights,
      ...rest
    } = options;
    const own = !(given instanceof Worker);
    const worker = own
      ? new Worker(given ?? new URL('./worker.js', import.meta.url), { type: 'module', name: 'sgp-sam' })
      : given;
    const end = () => {
      if (own) worker.terminate();
    };
    const calls = new Calls(worker);
    try {
      const args = [
        {
          ...rest,
          weights: await sendable(weights, options),
          deltaWeights: await sendable(deltaWeights, {}),
        },
      ];
      const info = await calls.call<SegmenterInfo>({}, 'open', args, { signal, progress });
      return new WorkerSegmenter(calls, info, end);
    } catch (error) {
      end();
      throw error;
    }
  }

  private watch(): void {
    this.lastLoss = undefined;
    this.lostNow = new Promise((resolve) => {
      this.calls.onLost = (error) => {
        this.lastLoss = error;
        resolve(error);
      };
    });
  }

  get info(): SegmenterInfo {
    return this.current;
  }

  get lost(): Promise<SgpSamError> {
    return this.lostNow;
  }

  async openVolume(input: VolumeInput, options: OpenVolumeOptions = {}): Promise<SegmenterVolume> {
    needOptions('openVolume', options);
    // A File loses its name on the way in some browsers.
    const name = options.name ?? (input instanceof Blob && 'name' in input ? String(input.name) : undefined);
    const { channel, signal, progress } = options;
    const { volume, info } = await this.calls.call<{ volume: number; info: VolumeInfo }>(
      {},
      'openVolume',
      [input, { channel, name }],
      { signal, progress },
    );
    return new WorkerVolume(this.calls, volume, info);
  }

  setGates(gates: readonly GateSetting[]) {
    return this.calls.call<void>({}, 'setGates', [gates]);
  }

  memory() {
    return this.calls.call<MemoryUse>({}, 'memory', []);
  }

  async recover(options: Work = {}): Promise<void> {
    needOptions('recover', options);
    // A loss of the new device may be told before its opening is.
    this.lastLoss = undefined;
    const { info, renewed } = await this.calls.call<{ info: SegmenterInfo; renewed: boolean }>(
      {},
      'recover',
      [{}],
      options,
    );
    if (!renewed) return;
    this.current = info;
    const again = this.lastLoss;
    this.watch();
    if (again) this.calls.onLost(again);
  }

  loseDevice() {
    return this.calls.call<void>({}, 'loseDevice', []);
  }

  /** A method that the worker's own script adds (`serveSegmenter`'s `extras`). */
  extra<R>(name: string, args: readonly unknown[] = [], options: Work = {}): Promise<R> {
    return this.calls.call<R>({}, 'extra', [name, ...args], options);
  }

  dispose(): Promise<void> {
    this.disposing ??= this.calls.call<void>({}, 'dispose', []).finally(() => {
      this.calls.end();
      this.end();
    });
    return this.disposing;
  }
}

/** Opens a segmenter that computes in a worker. Options as `openSegmenter`'s; there is no adopting a device. */
export const openWorkerSegmenter = (options: WorkerSegmenterOptions): Promise<WorkerSegmenter> =>
  WorkerSegmenter.open(options);

/** Weights as they can be sent: addresses made absolute against the page, streams read. */
async function sendable(weights: SegmenterOptions['weights'] | undefined, { signal, progress }: Work) {
  if (typeof weights === 'string' && weights.startsWith('formula:')) return weights;
  if (typeof weights === 'string' || weights instanceof URL) return new URL(weights, document.baseURI).href;
  if (!(weights instanceof ReadableStream)) return weights;
  let done = 0;
  const counted = (weights as ReadableStream<Uint8Array<ArrayBuffer>>).pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        done += chunk.byteLength;
        progress?.({ stage: 'download', done, total: 0 });
        controller.enqueue(chunk);
      },
    }),
    signal ? { signal } : {},
  );
  try {
    return await new Response(counted).blob();
  } catch (error) {
    checkAborted(signal);
    throw error;
  }
}
