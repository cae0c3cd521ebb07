/** What a host hands in, as the engine has it: weights from wherever they are, volumes from files or numbers, gates. */
import { SgpSamError } from '../errors.js';
import type { GateSetting } from '../graph/regions.js';
import { affineFromRows } from '../volumes/affine.js';
import { readNifti } from '../volumes/nifti.js';
import { newHeader } from '../volumes/nifti-write.js';
import type { Vec3, Volume } from '../volumes/types.js';
import { type ByteSource, blobSource, memorySource } from '../weights/byte-source.js';
import { collectWeights, fetchWeights } from '../weights/fetch.js';
import { overlayWeights } from '../weights/overlay.js';
import { openWeights, type WeightSource } from '../weights/weight-source.js';
import { formulaWeights } from './model.js';
import type { OpenVolumeOptions, SegmenterOptions, VolumeInput, WeightsInput } from './segmenter.js';

/** Weights that are open, and what is known of them. */
export interface OpenedWeights {
  readonly source: WeightSource;
  readonly config?: ReturnType<typeof formulaWeights>['config'];
  readonly trained: boolean;
}

async function openInput(input: WeightsInput, options: SegmenterOptions): Promise<OpenedWeights> {
  if (typeof input === 'string' && input.startsWith('formula:'))
    return { ...formulaWeights(input), trained: false };
  return { source: await openWeights(await bytesOf(input, options)), trained: true };
}

async function bytesOf(input: WeightsInput, options: SegmenterOptions): Promise<ByteSource> {
  if (typeof input === 'string' || input instanceof URL) return fetchWeights(input, options);
  if (input instanceof ReadableStream)
    return blobSource((await collectWeights(input, 'weights', 0, options)).blob);
  const source = input instanceof Blob ? blobSource(input) : memorySource(input);
  if (options.sha256 !== undefined) {
    const blob = input instanceof Blob ? input : new Blob([input as BlobPart]);
    await collectWeights(blob.stream(), source.name, blob.size, options);
  }
  return source;
}

/** The weights that options name, an adapter's laid over the base's. */
export async function openChosen(options: SegmenterOptions): Promise<OpenedWeights> {
  const base = await openInput(options.weights, options);
  if (options.adapterWeights === undefined) return base;
  const over = await openInput(options.adapterWeights, { ...options, sha256: undefined });
  return { ...base, source: overlayWeights(base.source, over.source) };
}

/** Whether these are three finite numbers. */
export const isVec3 = (v: unknown): v is Vec3 =>
  (Array.isArray(v) || ArrayBuffer.isView(v)) &&
  (v as unknown as ArrayLike<unknown>).length === 3 &&
  [0, 1, 2].every((a) => Number.isFinite((v as unknown as ArrayLike<unknown>)[a]));

/** @throws SgpSamError `bad-argument` for anything but one known setting per module at most */
export function checkGates(gates: readonly GateSetting[], modules: number): void {
  const known: readonly string[] = ['auto', 'open', 'closed'];
  const wrong = gates.find((gate) => !known.includes(gate));
  if (wrong === undefined && gates.length <= modules) return;
  throw new SgpSamError(
    'bad-argument',
    wrong === undefined
      ? `${gates.length} gates for a model that has ${modules} modules`
      : `'${wrong}' is no gate setting`,
    'Give one of auto, open, closed per module.',
  );
}

/** Numbers and where they lie, as a volume. */
function volumeOf(input: Extract<VolumeInput, { data: unknown }>, name: string): Volume {
  const { data, dims, spacing = [1, 1, 1] } = input;
  if (!data || !isVec3(dims) || !isVec3(spacing)) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: this is neither a NIfTI file nor { data, dims, spacing or affine }`,
      'Give a File, Blob, ArrayBuffer or Uint8Array of a file, or voxels with their sizes.',
    );
  }
  if (data.length !== dims[0] * dims[1] * dims[2]) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: ${data.length} values do not fill ${dims.join(' × ')} voxels`,
      'Give one 3-D image, i varying fastest.',
    );
  }
  const affine = input.affine
    ? affineFromRows(input.affine)
    : affineFromRows([spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0]);
  const values = data instanceof Float32Array ? data : Float32Array.from(data, Number);
  const bad = values.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) {
    throw new SgpSamError(
      'non-finite',
      `${name}: value ${bad} is ${values[bad]}`,
      'Replace it, by 0 for air.',
    );
  }
  return { name, dims, affine, data: values, header: newHeader({ dims, affine, datatype: 'float32' }) };
}

/**
 * A host's volume: a NIfTI file in whatever holds its bytes, or voxels with their sizes.
 * @throws SgpSamError `bad-file`, `bad-argument`, `non-finite`, `aborted`
 */
export async function openVolumeInput(input: VolumeInput, options: OpenVolumeOptions): Promise<Volume> {
  const own = input instanceof Blob && 'name' in input ? String(input.name) : undefined;
  const name = options.name ?? own ?? 'volume';
  const file =
    input instanceof Blob
      ? new Uint8Array(await input.arrayBuffer())
      : input instanceof ArrayBuffer
        ? new Uint8Array(input)
        : ArrayBuffer.isView(input)
          ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
          : input;
  const { channel, progress, signal } = options;
  return file instanceof Uint8Array
    ? readNifti(file, { name, channel, progress, signal })
    : volumeOf(file, name);
}
