/** The page's side: a segmenter whose computing is done in a worker, so that the page never waits for it. */
import { needFields, needOptions } from '../base/arguments.js';
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import { readStream } from '../weights/fetch.js';
import { isFormula, type WeightsInput } from '../weights/open.js';
import { type Call, methodsOf, volumeHandle } from './handles.js';
import type { CallOptions } from './lesion-session.js';
import { type LesionState, withMask } from './lesion-state.js';
import {
  type FilesInput,
  type OpenVolumeOptions,
  type Segmenter,
  type SegmenterInfo,
  type SegmenterOptions,
  segmenterMethods,
  type VolumeFile,
  type VolumeInfo,
  type VolumeInput,
} from './segmenter.js';
import { errorOf, type Reply, type Request, type Target } from './worker-protocol.js';

/** What to open in a worker, and where that is. */
export interface WorkerSegmenterOptions extends SegmenterOptions {
  /**
   * The worker, or where its script is (`sgp-sam/worker`, served from the page's own origin); `worker.js` beside this module
   * unless given. One that is handed in is not terminated.
   */
  readonly worker?: Worker | string | URL | undefined;
}

/** A segmenter that computes in a worker. */
export interface WorkerSegmenter extends Segmenter {
  /** A method that the worker's own script adds (`serveSegmenter`'s `extras`). */
  extra<R>(name: string, args?: readonly unknown[], options?: Work): Promise<R>;
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
  onRenewed: (info: SegmenterInfo) => void = () => {};

  constructor(private readonly worker: Worker) {
    worker.addEventListener('message', ({ data }) => this.receive(data));
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.fail(event.message || 'its script could not be loaded');
    });
    worker.addEventListener('messageerror', () => this.fail('a message could not be read'));
  }

  call<R>(target: Target, method: string, args: readonly unknown[], work: CallOptions = {}): Promise<R> {
    const { signal, progress, ...options } = work;
    return new Promise<R>((resolve, reject) => {
      if (this.ended) throw this.ended;
      checkAborted(signal);
      const id = ++this.last;
      const onAbort = () => this.worker.postMessage({ abort: id } satisfies Request);
      const request: Request = { id, target, method, args, options, progress: progress !== undefined };
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
    if (typeof data !== 'object' || data === null || !('id' in data || 'lost' in data || 'renewed' in data))
      return;
    const reply = data as Reply;
    this.heard = true;
    if ('lost' in reply) {
      this.onLost(errorOf(reply.lost) as SgpSamError);
      return;
    }
    if ('renewed' in reply) {
      this.onRenewed(reply.renewed);
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

  /** The calls of one of the worker's objects, their answers as a host has them. */
  of(target: Target): Call {
    return async (method, args, options, { result }) => {
      const value = await this.call(target, method, args, options);
      // The mask on the grid is made on this side, when asked for.
      if (result === 'state') return withMask(value as LesionState);
      if (result !== 'volume') return value;
      const { volume, info } = value as { volume: number; info: VolumeInfo };
      return volumeHandle(info, (lesion) => this.of(lesion ? { volume, lesion: lesion.name } : { volume }));
    };
  }
}

/** Opens a segmenter that computes in a worker. Options as `openSegmenter`'s; there is no adopting a device. */
export async function openWorkerSegmenter(options: WorkerSegmenterOptions): Promise<WorkerSegmenter> {
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
  const worker = own ? startWorker(given) : given;
  const end = () => {
    if (own) worker.terminate();
  };
  const calls = new Calls(worker);
  // A worker that goes anyway has nothing to answer first, whatever it is compiling.
  const stop = () =>
    calls.end(new SgpSamError('aborted', 'stopped on request', undefined, { cause: signal?.reason }));
  if (own) signal?.addEventListener('abort', stop);
  try {
    const sent = {
      ...rest,
      weights: await sendable(weights, options),
      deltaWeights: await sendable(deltaWeights, {}),
      signal,
      progress,
    };
    return segmenterOf(calls, await calls.call<SegmenterInfo>({}, 'open', [], sent), end);
  } catch (error) {
    end();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

function startWorker(script: string | URL | undefined): Worker {
  if (script !== undefined) return new Worker(script, { type: 'module', name: 'sgp-sam' });
  // In one piece: bundlers know a worker by these very words.
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'sgp-sam' });
}

function segmenterOf(calls: Calls, info: SegmenterInfo, end: () => void): WorkerSegmenter {
  let current = info;
  const nextLoss = () =>
    new Promise<SgpSamError>((resolve) => {
      calls.onLost = resolve;
    });
  let lost = nextLoss();
  calls.onRenewed = (renewed) => {
    current = renewed;
    lost = nextLoss();
  };
  let disposing: Promise<void> | undefined;
  const own = methodsOf<Segmenter>(segmenterMethods, calls.of({}));
  const segmenter = {
    ...own,
    /** For the console, and for tests. */
    calls,
    get info() {
      return current;
    },
    get lost() {
      return lost;
    },
    async openVolume(input: VolumeInput, options?: OpenVolumeOptions) {
      needOptions('openVolume', options);
      // A File loses its name on the way in some browsers.
      const name =
        options?.name ?? (input instanceof Blob && 'name' in input ? String(input.name) : undefined);
      return own.openVolume(named(input), { ...options, name });
    },
    listSeries(files: FilesInput, options?: OpenVolumeOptions) {
      return own.listSeries(named(files), options);
    },
    extra: <R>(name: string, args: readonly unknown[] = [], work: Work = {}) =>
      calls.call<R>({}, 'extra', [name, ...args], work),
    dispose() {
      disposing ??= own.dispose().finally(() => {
        calls.end();
        end();
      });
      return disposing;
    },
  };
  return segmenter;
}

/** Several files with their names beside them. */
const named = <T extends VolumeInput>(input: T): T =>
  Array.isArray(input)
    ? (input.map((file: File | VolumeFile) =>
        'data' in file ? file : { name: file.webkitRelativePath || file.name, data: file },
      ) as unknown as T)
    : input;

/** Weights as they can be sent: addresses made absolute against the page, streams read. */
async function sendable(weights: WeightsInput | undefined, work: Work) {
  if (isFormula(weights)) return weights;
  if (typeof weights === 'string' || weights instanceof URL) return new URL(weights, document.baseURI).href;
  return weights instanceof ReadableStream ? readStream(weights, 0, work) : weights;
}
