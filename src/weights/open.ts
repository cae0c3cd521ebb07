/** Weights from wherever they are: the one place that tells addresses, files, bytes, streams and formulas apart. */
import { blobSource, memorySource } from '../base/byte-source.js';
import { collectWeights, type FetchWeightsOptions, fetchWeights } from './fetch.js';
import { overlayWeights } from './overlay.js';
import { openWeights, type WeightSource } from './weight-source.js';

/**
 * Weights: an address (fetched and kept by the browser), a File or Blob, bytes, a stream of them, or
 * `formula:CONFIG[:seed]`, which are not trained.
 */
export type WeightsInput = string | URL | Blob | ArrayBuffer | Uint8Array | ReadableStream<Uint8Array>;

export interface OpenAnyOptions extends FetchWeightsOptions {
  readonly weights: WeightsInput;
  /** What `sgp-sam train --export delta` wrote, laid over the weights. */
  readonly deltaWeights?: WeightsInput | undefined;
  /** @deprecated The former name of `deltaWeights`. */
  readonly adapterWeights?: WeightsInput | undefined;
}

/** What those know who ask for weights. */
export interface WeightOpeners {
  /** `formula:CONFIG[:seed]`: names and shapes are the network's. */
  readonly formula: (text: string) => WeightSource;
  /** Other texts: addresses unless given; to a command they are files. */
  readonly named?: (name: string | URL, options: FetchWeightsOptions) => Promise<WeightSource>;
}

/** Whether these are weights that no file holds. */
export const isFormula = (weights: unknown): weights is string =>
  typeof weights === 'string' && weights.startsWith('formula:');

/** Whether anything in them was trained. */
export const isTrained = ({ format }: WeightSource): boolean => format !== 'formula';

const fetched = async (address: string | URL, options: FetchWeightsOptions): Promise<WeightSource> =>
  openWeights(await fetchWeights(address, options));

async function openOne(
  input: WeightsInput,
  options: FetchWeightsOptions,
  { formula, named = fetched }: WeightOpeners,
): Promise<WeightSource> {
  if (isFormula(input)) return formula(input);
  if (typeof input === 'string' || input instanceof URL) return named(input, options);
  if (input instanceof ReadableStream)
    return openWeights(blobSource(await collectWeights(input, 'weights', 0, options)));
  const source = input instanceof Blob ? blobSource(input) : memorySource(input);
  if (options.sha256 !== undefined) {
    const blob = input instanceof Blob ? input : new Blob([input as BlobPart]);
    await collectWeights(blob.stream(), source.name, blob.size, options);
  }
  return openWeights(source);
}

/**
 * Opens weights, a delta's laid over them if there is one. What was opened is closed again should the rest fail.
 * @throws SgpSamError `bad-argument` for an impossible formula; `bad-weights` for a delta over other weights than its own;
 *   `bad-file`, `unsupported`, `aborted`
 */
export async function openAnyWeights(
  { weights, adapterWeights, deltaWeights = adapterWeights, ...options }: OpenAnyOptions,
  openers: WeightOpeners,
): Promise<WeightSource> {
  const base = await openOne(weights, options, openers);
  if (deltaWeights === undefined) return base;
  let delta: WeightSource | undefined;
  try {
    delta = await openOne(deltaWeights, { ...options, sha256: undefined }, openers);
    return overlayWeights(base, delta);
  } catch (error) {
    await delta?.close();
    await base.close();
    throw error;
  }
}
