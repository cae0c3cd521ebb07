import { SgpSamError } from '../base/errors.js';
import { DTYPE_SIZE, elementCount } from './dtype.js';
import type { TensorInfo } from './weight-source.js';

/** A tensor with its values: C-contiguous, little-endian, exactly as many bytes as dtype and shape ask for. */
export interface TensorData extends TensorInfo {
  readonly data: ArrayBufferView;
}

/**
 * A whole safetensors file in memory.
 * @throws SgpSamError `bad-argument` for a name given twice or data that does not fit its shape.
 */
export function writeSafetensors(
  tensors: Iterable<TensorData>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const all = [...tensors];
  const { header, order, size } = planSafetensors(all, metadata);
  const file = new Uint8Array(size);
  file.set(header);
  let at = header.byteLength;
  for (const { name, dtype, shape, data } of order) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    checkSize({ name, dtype, shape }, bytes);
    file.set(bytes, at);
    at += bytes.byteLength;
  }
  return file;
}

/**
 * The chunks of a safetensors file one after the other: the header, then each tensor's bytes as `read` gives
 * them, asked for only when due. Holds one tensor at a time.
 * @param read C-contiguous little-endian bytes of a tensor; asked in file order, which is not `tensors`' order.
 * @throws SgpSamError `bad-argument` as writeSafetensors, and whatever `read` throws.
 */
export async function* safetensorsChunks(
  tensors: Iterable<TensorInfo>,
  read: (tensor: TensorInfo) => Promise<Uint8Array<ArrayBuffer>>,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const { header, order } = planSafetensors([...tensors], metadata);
  yield header;
  for (const tensor of order) {
    const bytes = await read(tensor);
    checkSize(tensor, bytes);
    yield bytes;
  }
}

function planSafetensors<T extends TensorInfo>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>>,
) {
  // Wide types first, so that every tensor is aligned to its element size, as the format's own writer does.
  const order = tensors.toSorted((a, b) => DTYPE_SIZE[b.dtype] - DTYPE_SIZE[a.dtype]);
  // Entries instead of an object literal keep a tensor named '__proto__' a plain key.
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  const names = new Set(['__metadata__']);
  let at = 0;
  for (const { name, dtype, shape } of order) {
    if (names.has(name)) throw new SgpSamError('bad-argument', `cannot write two tensors named '${name}'`);
    names.add(name);
    const end = at + byteCount({ name, dtype, shape });
    entries.push([name, { dtype, shape, data_offsets: [at, end] }]);
    at = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  // Padded with spaces so that the data starts at a multiple of 8.
  const header = new Uint8Array(8 + Math.ceil(json.byteLength / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.byteLength - 8), true);
  header.set(json, 8);
  return { header, order, size: header.byteLength + at };
}

function byteCount({ name, dtype, shape }: TensorInfo): number {
  const count = elementCount(shape);
  if (shape.every((n) => Number.isInteger(n) && n >= 0) && Number.isSafeInteger(count)) {
    return count * DTYPE_SIZE[dtype];
  }
  throw new SgpSamError('bad-argument', `tensor '${name}' has the impossible shape [${shape.join(', ')}]`);
}

function checkSize(tensor: TensorInfo, bytes: Uint8Array): void {
  const expected = byteCount(tensor);
  if (bytes.byteLength === expected) return;
  throw new SgpSamError(
    'bad-argument',
    `tensor '${tensor.name}' is ${tensor.dtype} [${tensor.shape.join(', ')}], ${expected} bytes, ` +
      `but was given ${bytes.byteLength}`,
  );
}
