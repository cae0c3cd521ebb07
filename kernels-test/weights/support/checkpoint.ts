import { memorySource } from '../../../src/base/byte-source.js';
import { DTYPE_SIZE, type WeightDType } from '../../../src/weights/dtype.js';
import { openPth, type PthSource } from '../../../src/weights/pth.js';
import { type Py, pickle } from './pickler.js';
import { type ZipFile, type ZipOptions, zipOf } from './zip-writer.js';

const CLASSES: Readonly<Record<WeightDType, string>> = {
  F64: 'DoubleStorage',
  F32: 'FloatStorage',
  F16: 'HalfStorage',
  BF16: 'BFloat16Storage',
  I64: 'LongStorage',
  I32: 'IntStorage',
  I16: 'ShortStorage',
  I8: 'CharStorage',
  U8: 'ByteStorage',
  BOOL: 'BoolStorage',
};

export interface TensorSpec {
  /** Record in the archive's data folder. */
  readonly key: string;
  readonly dtype?: WeightDType;
  /** Elements in the storage. */
  readonly length: number;
  readonly offset?: number;
  readonly shape: number[];
  readonly strides?: number[];
}

/** A tensor as torch pickles it. */
export function torchTensor(spec: TensorSpec): Py {
  return {
    call: 'torch._utils._rebuild_tensor_v2',
    args: [
      torchStorage(`torch.${CLASSES[spec.dtype ?? 'F32']}`, spec.key, spec.length),
      spec.offset ?? 0,
      { tuple: spec.shape },
      { tuple: spec.strides ?? contiguous(spec.shape) },
      false,
      { call: 'collections.OrderedDict', args: [] },
    ],
  };
}

export function torchStorage(type: string, key: string, length: number): Py {
  return { persistent: { tuple: ['storage', { global: type }, key, 'cpu', length] } };
}

/** A state dict as torch pickles it: an OrderedDict with its version metadata as an attribute. */
export function stateDict(tensors: Record<string, Py>): Py {
  const object: Py = { call: 'collections.OrderedDict', args: [] };
  const items: Py = { object, items: new Map(Object.entries(tensors)) };
  return { object: items, state: new Map([['_metadata', new Map([['', new Map([['version', 1]])]])]]) };
}

export interface ArchiveOptions extends ZipOptions {
  readonly protocol?: 0 | 2 | 3 | 4 | 5;
  readonly deflate?: boolean;
  readonly byteorder?: string;
  readonly extra?: readonly ZipFile[];
}

/** The archive torch.save makes: the pickle and one record per storage, in a folder. */
export function archive(
  value: Py | Uint8Array,
  storages: Record<string, ArrayBufferView>,
  options: ArchiveOptions = {},
): Uint8Array<ArrayBuffer> {
  const { protocol, deflate, byteorder, extra = [] } = options;
  const data = value instanceof Uint8Array ? value : pickle(value, protocol);
  const files: ZipFile[] = [{ name: 'archive/data.pkl', data, deflate, padding: 3 }];
  if (byteorder !== undefined) {
    files.push({ name: 'archive/byteorder', data: new TextEncoder().encode(byteorder) });
  }
  for (const [key, view] of Object.entries(storages)) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    files.push({ name: `archive/data/${key}`, data: bytes, deflate, padding: 13 });
  }
  files.push({ name: 'archive/version', data: new TextEncoder().encode('3\n') }, ...extra);
  return zipOf(files, options);
}

export function openBytes(bytes: Uint8Array): Promise<PthSource> {
  return openPth(memorySource(bytes, 'test.pth'));
}

/** Opens a checkpoint whose one tensor `w` is the given view of `storage`. */
export function openView(
  storage: ArrayBufferView,
  spec: Omit<TensorSpec, 'key' | 'length'>,
): Promise<PthSource> {
  const length = storage.byteLength / DTYPE_SIZE[spec.dtype ?? 'F32'];
  const tensor = torchTensor({ key: '0', length, ...spec });
  return openBytes(archive(stateDict({ w: tensor }), { '0': storage }));
}

function contiguous(shape: readonly number[]): number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
}
