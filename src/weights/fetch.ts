/** Weights from an address: with progress, checked, and kept by the browser so that the next visit needs no network. */

import { need, needOptions } from '../base/arguments.js';
import { type ByteSource, blobSource } from '../base/byte-source.js';
import { checkAborted, type Progress, SgpSamError } from '../base/errors.js';
import { sha256 } from '../base/sha256.js';

/** How weights are fetched. */
export interface FetchWeightsOptions {
  /** Hexadecimal SHA-256 that the file must have. */
  readonly sha256?: string | undefined;
  /** Whether the browser keeps the file (Cache storage; default true). Without such a storage it is fetched every time. */
  readonly cache?: boolean | undefined;
  /** Stage `download`, in bytes. */
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The name of the Cache storage that weights are kept in; deleting it makes the next visit fetch them again. */
const WEIGHTS_CACHE = 'sgp-sam-weights';
const HASH_HEADER = 'x-sgp-sam-sha256';

/**
 * A weights file by its address. One that is kept already (with the same SHA-256, if one is asked for) is not asked for
 * again: give a changed file another address or its own SHA-256.
 * @throws SgpSamError `bad-file` when it cannot be fetched, arrives incomplete or has another SHA-256; then nothing is
 *   kept. `unsupported` when an insecure context cannot check it; `aborted`
 */
export async function fetchWeights(
  url: string | URL,
  options: FetchWeightsOptions = {},
): Promise<ByteSource> {
  needOptions('fetchWeights', options);
  if (options.sha256 !== undefined) need('fetchWeights: sha256', options.sha256, 'a text');
  const { address, name } = addressOf(url);
  const wanted = options.sha256?.toLowerCase();
  const store = options.cache === false ? undefined : await openCache();
  const kept = await store?.match(address);
  if (kept) {
    const blob = await kept.blob();
    // Kept by a visit that did not ask for a sum, it is taken when it has it.
    const sum = async () => kept.headers.get(HASH_HEADER) || (await hashOf(blob, name));
    if (wanted === undefined || (await sum()) === wanted) return blobSource(blob, name);
  }
  const blob = await download(address, name, options);
  if (!store) return blobSource(blob, name);
  try {
    const headers = { 'content-length': String(blob.size), [HASH_HEADER]: wanted ?? '' };
    await store.put(address, new Response(blob, { headers }));
    const stored = await store.match(address);
    // Read from the disk from now on, not from memory.
    if (stored) return blobSource(await stored.blob(), name);
  } catch {
    // No room: this visit has them in memory, the next one fetches again.
  }
  return blobSource(blob, name);
}

function addressOf(url: string | URL): { address: string; name: string } {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  let address: URL;
  try {
    address = new URL(url, base);
  } catch (cause) {
    throw new SgpSamError(
      'bad-argument',
      `weights: '${url}' is no address`,
      'Give an absolute one (https://…); for a file in Node, its bytes.',
      { cause },
    );
  }
  const last = address.pathname.split('/').pop() || address.href;
  try {
    return { address: address.href, name: decodeURIComponent(last) };
  } catch {
    return { address: address.href, name: last }; // a % that encodes nothing
  }
}

async function openCache(): Promise<Cache | undefined> {
  if (typeof caches === 'undefined') return undefined;
  try {
    return await caches.open(WEIGHTS_CACHE);
  } catch {
    return undefined; // storage is turned off
  }
}

/**
 * Reads a stream to its end.
 * @param total bytes that are expected; 0 when that is not known
 * @throws SgpSamError `aborted`, or whatever the stream fails with
 */
export async function readStream(
  stream: ReadableStream<Uint8Array>,
  total: number,
  { progress, signal }: Pick<FetchWeightsOptions, 'progress' | 'signal'>,
): Promise<Blob> {
  let done = 0;
  const counted = (stream as ReadableStream<Uint8Array<ArrayBuffer>>).pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(piece, controller) {
        done += piece.byteLength;
        progress?.({ stage: 'download', done, total });
        controller.enqueue(piece);
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

/**
 * The SHA-256 of what came, which is in memory as a whole for that.
 * @throws SgpSamError `unsupported` in an insecure context, or for more than memory holds at once
 */
async function hashOf(blob: Blob, name: string): Promise<string> {
  try {
    return await sha256(await blob.arrayBuffer());
  } catch (cause) {
    throw new SgpSamError(
      'unsupported',
      `${name}: the SHA-256 of its ${blob.size} bytes cannot be computed here`,
      'Serve the page by https or from localhost (as WebGPU wants, too), or do not ask for a SHA-256 of a file this large.',
      { cause },
    );
  }
}

/**
 * Reads a stream of weights to its end.
 * @param total bytes that are expected; 0 when that is not known
 * @returns what came
 * @throws SgpSamError `bad-file` when less came than was expected, or another SHA-256 than `sha256`; `unsupported` where
 *   it cannot be told; `aborted`
 */
export async function collectWeights(
  stream: ReadableStream<Uint8Array>,
  name: string,
  total: number,
  options: FetchWeightsOptions,
): Promise<Blob> {
  const wanted = options.sha256?.toLowerCase();
  const blob = await readStream(stream, total, options);
  if (total > 0 && blob.size !== total) {
    throw new SgpSamError('bad-file', `${name}: ${blob.size} of ${total} bytes came`, 'Try again.');
  }
  if (wanted === undefined) return blob;
  const hash = await hashOf(blob, name);
  checkAborted(options.signal);
  if (hash !== wanted) {
    throw new SgpSamError(
      'bad-file',
      `${name}: its SHA-256 is ${hash}, and ${wanted} was asked for`,
      'The file was changed or damaged on its way; fetch it from where that sum was published.',
    );
  }
  return blob;
}

async function download(address: string, name: string, options: FetchWeightsOptions): Promise<Blob> {
  const { signal } = options;
  checkAborted(signal);
  try {
    const response = await fetch(address, { signal: signal ?? null });
    if (!response.ok || !response.body) {
      throw new SgpSamError(
        'bad-file',
        `${name}: ${address} answered ${response.status} ${response.statusText}`.trimEnd(),
        'Check the address.',
      );
    }
    // With a content encoding the length is that of other bytes.
    const coded = response.headers.get('content-encoding');
    const total = coded === null ? Number(response.headers.get('content-length') ?? 0) : 0;
    return await collectWeights(response.body, name, total, options);
  } catch (cause) {
    checkAborted(signal);
    if (cause instanceof SgpSamError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError(
      'bad-file',
      `${name}: ${address} could not be fetched: ${why}`,
      'Check the address and the connection; another site must allow this page to read it (CORS).',
      { cause },
    );
  }
}
