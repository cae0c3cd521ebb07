/** The worker's side: runs a local segmenter for a page and answers its messages. */
import { need, needOptions } from '../base/arguments.js';
import type { Progress } from '../base/errors.js';
import { SgpSamError } from '../base/errors.js';
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

/** What a worker serves beside the segmenter. */
export interface ServeOptions {
  /** Further methods, by name. */
  readonly extras?: Readonly<Record<string, Extra>>;
}

/** Methods with options that take a signal and progress, and which argument they are. */
const LONG = new Map([
  ['addPoint', 1],
  ['addBox', 1],
  ['preview', 1],
  ['apply', 1],
  ['recompute', 0],
  ['recover', 0],
]);
/** What a page may call, so that a message cannot reach anything else. */
const METHODS = {
  segmenter: new Set(['setGates', 'memory', 'loseDevice']),
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
    'recompute',
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
  options: ServeOptions = {},
): void {
  needOptions('serveSegmenter', options);
  const { extras = {} } = options;
  need('serveSegmenter: port', port, 'an object');
  for (const method of ['postMessage', 'addEventListener'] as const)
    need(`serveSegmenter: port.${method}`, port[method], 'a function');
  need('serveSegmenter: open', open, 'a function');
  let segmenter: LocalSegmenter | undefined;
  /** One is open, or about to be. */
  let opening = false;
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
      if (opening)
        throw new SgpSamError('bad-argument', 'this worker serves a segmenter already', 'Start another one.');
      opening = true;
      try {
        segmenter = await open({ ...(args[0] as LocalSegmenterOptions), ...call });
      } finally {
        opening = segmenter !== undefined;
      }
      watch(segmenter);
      return segmenter.info;
    }
    if (!segmenter) throw new SgpSamError('bad-argument', 'no segmenter is open in this worker');
    const own = segmenter;
    if (method === 'openVolume') {
      const [input, options] = args as Parameters<LocalSegmenter['openVolume']>;
      const volume = await own.openVolume(input, { ...options, ...call });
      volumes.set(++lastVolume, volume);
      return { volume: lastVolume, info: volume.info };
    }
    if (method === 'extra') {
      const [name, ...rest] = args as [string, ...unknown[]];
      const extra = Object.hasOwn(extras, name) ? extras[name] : undefined;
      if (!extra) throw new SgpSamError('bad-argument', `this worker has no '${name}'`);
      return own.inTurn(async () => extra(own, rest, call), call.signal);
    }
    if (method === 'dispose' && target.volume === undefined) {
      await own.dispose();
      volumes.clear();
      segmenter = undefined;
      opening = false;
      return undefined;
    }
    if (method === 'recover') {
      const { engine } = own.internals;
      await own.recover(call);
      const renewed = own.internals.engine !== engine;
      if (renewed) watch(own);
      return { info: own.info, renewed };
    }
    const [kind, object] = find(own, volumes, target);
    if (!METHODS[kind].has(method)) throw new SgpSamError('bad-argument', `a ${kind} has no '${method}'`);
    // A lesion that the page knows may not have been called yet.
    if (kind === 'volume' && method === 'save')
      for (const name of args[0] as string[]) volumes.get(target.volume as number)?.lesion(name);
    const place = LONG.get(method);
    const given = place === undefined ? args : withCall(args, place, call);
    const value = await (object as unknown as Record<string, (...a: unknown[]) => unknown>)[method](...given);
    if (method === 'dispose') volumes.delete(target.volume as number);
    return value;
  };

  port.addEventListener('message', ({ data }) => {
    // Others may use the same port.
    if (typeof data !== 'object' || data === null || !('abort' in data || ('id' in data && 'method' in data)))
      return;
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
