/** The worker's side: runs a local segmenter for a page and answers its messages. */
import type { Progress } from '../errors.js';
import { SgpSamError } from '../errors.js';
import type { LocalSegmenter, LocalSegmenterOptions } from './local-segmenter.js';
import type { SegmenterVolume } from './segmenter.js';
import { failureOf, type Port, type Reply, type Request, type Target } from './worker-protocol.js';

/** What a call can be told beside its arguments. */
export interface ServedCall {
  readonly signal: AbortSignal;
  readonly progress: Progress | undefined;
}

/** A method of a worker's own, called with `WorkerSegmenter.extra`. */
export type Extra = (segmenter: LocalSegmenter, args: readonly unknown[], call: ServedCall) => unknown;

export interface ServeOptions {
  /** Further methods, by name. */
  readonly extras?: Readonly<Record<string, Extra>>;
}

/** Methods whose last argument is options that take a signal and progress. */
const LONG = new Set(['addPoint', 'addBox', 'preview', 'apply', 'recover']);
/** What a page may call, so that a message cannot reach anything else. */
const METHODS = {
  segmenter: new Set(['setGates', 'memory', 'recover', 'loseDevice', 'dispose']),
  volume: new Set(['remove', 'image', 'save', 'dispose']),
  lesion: new Set([
    'addPoint',
    'addBox',
    'setMask',
    'undo',
    'redo',
    'reset',
    'state',
    'preview',
    'actions',
    'apply',
  ]),
};

/**
 * Serves a page through a port: in a worker, `serveSegmenter(self, openSegmenter)`.
 * @param open how a segmenter is opened; nothing is before the page asks for it
 */
export function serveSegmenter(
  port: Port,
  open: (options: LocalSegmenterOptions) => Promise<LocalSegmenter>,
  { extras = {} }: ServeOptions = {},
): void {
  let segmenter: LocalSegmenter | undefined;
  const volumes = new Map<number, SegmenterVolume>();
  const running = new Map<number, AbortController>();
  let lastVolume = 0;
  const send = (reply: Reply, transfer: Transferable[] = []) => port.postMessage(reply, transfer);

  const watch = (opened: LocalSegmenter) => {
    opened.lost.then((error) => send({ lost: failureOf(error) }));
  };

  const handle = async (request: Extract<Request, { id: number }>, call: ServedCall): Promise<unknown> => {
    const { target, method, args } = request;
    if (method === 'open') {
      segmenter = await open({ ...(args[0] as LocalSegmenterOptions), ...call });
      watch(segmenter);
      return segmenter.info;
    }
    if (!segmenter) throw new SgpSamError('bad-argument', 'no segmenter is open in this worker');
    const own = segmenter;
    if (method === 'openVolume') {
      const [input, options] = args as Parameters<LocalSegmenter['openVolume']>;
      const volume = await own.openVolume(input, options);
      volumes.set(++lastVolume, volume);
      return { volume: lastVolume, info: volume.info };
    }
    if (method === 'extra') {
      const [name, ...rest] = args as [string, ...unknown[]];
      const extra = Object.hasOwn(extras, name) ? extras[name] : undefined;
      if (!extra) throw new SgpSamError('bad-argument', `this worker has no '${name}'`);
      return own.inTurn(async () => extra(own, rest, call), call.signal);
    }
    const [kind, object] = find(own, volumes, target);
    if (!METHODS[kind].has(method)) throw new SgpSamError('bad-argument', `a ${kind} has no '${method}'`);
    const given = LONG.has(method) ? withCall(args, method === 'recover' ? 0 : 1, call) : args;
    const value = await (object as unknown as Record<string, (...a: unknown[]) => unknown>)[method](...given);
    if (method === 'dispose' && kind === 'volume' && target.volume !== undefined)
      volumes.delete(target.volume);
    if (method === 'recover') {
      watch(own);
      return own.info;
    }
    return value;
  };

  port.addEventListener('message', ({ data }) => {
    const request = data as Request;
    if ('abort' in request) {
      running.get(request.abort)?.abort();
      return;
    }
    const { id } = request;
    const controller = new AbortController();
    running.set(id, controller);
    const progress: Progress | undefined = request.progress
      ? (event) => send({ id, progress: { ...event } })
      : undefined;
    handle(request, { signal: controller.signal, progress })
      .then(
        (value) => send({ id, value }, transferable(value)),
        (error) => send({ id, error: failureOf(error) }),
      )
      // A value that cannot be cloned.
      .catch((error) => send({ id, error: failureOf(error) }))
      .finally(() => running.delete(id));
  });
}

/** The arguments with the call's signal and progress among the options at `index`. */
function withCall(args: readonly unknown[], index: number, call: ServedCall): unknown[] {
  const given = [...args];
  given[index] = { ...(given[index] as object | undefined), ...call };
  return given;
}

function find(
  segmenter: LocalSegmenter,
  volumes: ReadonlyMap<number, SegmenterVolume>,
  target: Target,
): [keyof typeof METHODS, object] {
  if (target.volume === undefined) return ['segmenter', segmenter];
  const volume = volumes.get(target.volume);
  if (!volume) throw new SgpSamError('bad-argument', 'this volume was disposed of');
  return target.lesion === undefined ? ['volume', volume] : ['lesion', volume.lesion(target.lesion)];
}

/** Buffers that are the answer's alone: files and probabilities. Masks are still the history's. */
function transferable(value: unknown): Transferable[] {
  if (value instanceof Uint8Array) return [value.buffer as ArrayBuffer];
  const probabilities = (value as { probabilities?: unknown } | undefined)?.probabilities;
  return probabilities instanceof Float32Array ? [probabilities.buffer as ArrayBuffer] : [];
}
