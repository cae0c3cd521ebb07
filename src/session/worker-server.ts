/** The worker's side: runs a local segmenter for a page and answers its messages. */
import { need, needOptions } from '../base/arguments.js';
import type { Progress } from '../base/errors.js';
import { SgpSamError } from '../base/errors.js';
import { invoke } from './handles.js';
import type { Segmentation } from './lesion-state.js';
import type { LocalSegmenter, LocalSegmenterOptions } from './local-segmenter.js';
import {
  lesionMethods,
  type MethodRow,
  type SegmenterInfo,
  type SegmenterVolume,
  segmenterMethods,
  volumeMethods,
} from './segmenter.js';
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

const tables = { segmenter: segmenterMethods, volume: volumeMethods, lesion: lesionMethods };

type Answer = readonly [value: unknown, transfer?: Transferable[]];

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

  /** Tells the page when the device goes away that is in use now. */
  let watched: LocalSegmenter['lost'] | undefined;
  const watch = ({ lost }: LocalSegmenter) => {
    watched = lost;
    lost.then((error) => send({ lost: failureOf(error) }));
  };

  const openOnce = async (own: LocalSegmenterOptions): Promise<SegmenterInfo> => {
    if (opening)
      throw new SgpSamError('bad-argument', 'this worker serves a segmenter already', 'Start another one.');
    opening = true;
    try {
      segmenter = await open(own);
    } finally {
      opening = segmenter !== undefined;
    }
    watch(segmenter);
    return segmenter.info;
  };

  /** Does a call, and says which buffers of its answer are the answer's alone. */
  const handle = async (request: Extract<Request, { id: number }>, call: ServedCall): Promise<Answer> => {
    const { target, method, args } = request;
    const asked = { ...request.options, ...call };
    if (method === 'open') return [await openOnce(asked as LocalSegmenterOptions)];
    const own = segmenter;
    if (!own) throw new SgpSamError('bad-argument', 'no segmenter is open in this worker');
    if (method === 'extra') {
      const [name, ...rest] = args as [string, ...unknown[]];
      const extra = Object.hasOwn(extras, name) ? extras[name] : undefined;
      if (!extra) throw new SgpSamError('bad-argument', `this worker has no '${name}'`);
      return answerOf(await own.inTurn(async () => extra(own, rest, call), call.signal), 'file');
    }
    const [kind, object] = find(own, volumes, target);
    const table: Readonly<Record<string, MethodRow>> = tables[kind];
    // So that a message cannot reach anything else.
    if (!Object.hasOwn(table, method)) throw new SgpSamError('bad-argument', `a ${kind} has no '${method}'`);
    const row = table[method];
    // A lesion that the page knows may not have been called yet.
    if (kind === 'volume' && method === 'save')
      for (const name of args[0] as string[]) (object as SegmenterVolume).lesion(name);
    const value = await invoke(object, method, args, row.options === undefined ? undefined : asked);
    if (method === 'dispose') {
      if (kind === 'volume') volumes.delete(target.volume as number);
      else {
        volumes.clear();
        segmenter = undefined;
        opening = false;
      }
    } else if (own.lost !== watched) {
      // Before anything can be told of the new device.
      send({ renewed: own.info });
      watch(own);
    }
    if (row.result !== 'volume') return answerOf(value, row.result);
    const volume = value as SegmenterVolume;
    volumes.set(++lastVolume, volume);
    return [{ volume: lastVolume, info: volume.info }];
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
        ([value, transfer]) => send({ id, value }, transfer),
        (error) => send({ id, error: failureOf(error) }),
      )
      // A value that cannot be cloned.
      .catch((error) => send({ id, error: failureOf(error) }))
      .finally(() => running.delete(id));
  });
}

function find(
  segmenter: LocalSegmenter,
  volumes: ReadonlyMap<number, SegmenterVolume>,
  target: Target,
): [keyof typeof tables, object] {
  if (target.volume === undefined) return ['segmenter', segmenter];
  const volume = volumes.get(target.volume);
  if (!volume) throw new SgpSamError('bad-argument', 'this volume was disposed of');
  return target.lesion === undefined ? ['volume', volume] : ['lesion', volume.lesion(target.lesion)];
}

/** A value with what of it is handed over: files and probabilities. Masks are still the history's. */
function answerOf(value: unknown, result: MethodRow['result']): Answer {
  if (result === 'file' && value instanceof Uint8Array) return [value, [value.buffer as ArrayBuffer]];
  const probabilities = result === 'state' && (value as Partial<Segmentation>).probabilities;
  return [value, probabilities ? [probabilities.buffer as ArrayBuffer] : []];
}
