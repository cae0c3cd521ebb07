import { type Progress, SgpSamError } from '../base/errors.js';
import { f32ToF16, findF16Overflow } from '../base/half.js';
import { DTYPE_SIZE, elementCount, isFloatDType } from './dtype.js';
import { safetensorsChunks } from './safetensors-write.js';
import type { TensorInfo, WeightSource } from './weight-source.js';

export interface ConvertOptions {
  /** Store floating-point tensors as F16, rounded to nearest even; integers and booleans stay as they are. */
  readonly f16?: boolean;
  /** Metadata entries to add to, or put in place of, those the source carries. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Stage 'convert', in bytes of tensor data written. */
  readonly progress?: Progress;
}

/**
 * Any weight source as a safetensors file, chunk by chunk with one tensor in memory at a time. Names, shapes
 * and (without `f16`) values are kept bit for bit.
 * @throws SgpSamError `bad-weights` when a finite value is too large for f16, naming the tensor; and whatever
 *   reading the source throws. What was yielded until then is not a whole file.
 */
export async function* convertWeights(
  source: WeightSource,
  options: ConvertOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const { f16 = false, progress } = options;
  const narrows = (tensor: TensorInfo) => f16 && isFloatDType(tensor.dtype) && tensor.dtype !== 'F16';
  const targets = new Map<string, TensorInfo>();
  for (const [name, tensor] of source.tensors) {
    targets.set(name, narrows(tensor) ? { ...tensor, dtype: 'F16' } : tensor);
  }
  let total = 0;
  for (const { shape, dtype } of targets.values()) total += elementCount(shape) * DTYPE_SIZE[dtype];
  let done = 0;
  const read = async ({ name }: TensorInfo) => {
    const tensor = source.tensors.get(name)!;
    const bytes = narrows(tensor) ? await readF16(source, tensor) : await source.readRaw(name);
    done += bytes.byteLength;
    progress?.({ stage: 'convert', done, total });
    return bytes;
  };
  progress?.({ stage: 'convert', done, total });
  yield* safetensorsChunks(targets.values(), read, { ...source.metadata, ...options.metadata });
}

async function readF16(source: WeightSource, tensor: TensorInfo): Promise<Uint8Array<ArrayBuffer>> {
  const values = await source.readF32(tensor.name);
  let at = findF16Overflow(values);
  // An f64 beyond f32's range arrives as infinity.
  if (at < 0 && tensor.dtype === 'F64') at = await findF64Overflow(source, tensor.name);
  if (at >= 0) {
    throw new SgpSamError(
      'bad-weights',
      `${source.name}: tensor '${tensor.name}' holds ${values[at]} (element ${at}), too large for f16`,
      'Convert without f16.',
    );
  }
  return new Uint8Array(f32ToF16(values).buffer);
}

async function findF64Overflow(source: WeightSource, name: string): Promise<number> {
  const values = new Float64Array((await source.readRaw(name)).buffer);
  return values.findIndex((value) => Number.isFinite(value) && Math.abs(value) >= 65520);
}
