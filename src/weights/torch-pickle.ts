import type { WeightDType } from './dtype.js';
import {
  Placeholder,
  type PyCall,
  PyDict,
  PyGlobal,
  PyOpaque,
  PyTuple,
  type PyValue,
} from './pickle-values.js';

/** A run of bytes in the checkpoint, shared by any number of tensors. */
class TorchStorage extends PyOpaque {
  override readonly kind = 'storage';
  constructor(
    /** Name of its record in the archive's `data/` folder. */
    readonly key: string,
    /** undefined for an untyped storage, whose tensors bring the type and whose `length` counts bytes. */
    readonly dtype: WeightDType | undefined,
    readonly length: number,
  ) {
    super();
  }
}

/** A view of a storage; offset and strides in elements. Not checked against the storage yet. */
export class TorchTensor extends PyOpaque {
  override readonly kind = 'tensor';
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: WeightDType,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    super();
  }
}

const STORAGES: Readonly<Record<string, WeightDType | undefined>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};
const UNTYPED = new Set(['torch.UntypedStorage', 'torch.storage.UntypedStorage']);

/** Only `_rebuild_tensor_v3` names dtypes. */
const DTYPES: Readonly<Record<string, WeightDType>> = {
  'torch.float64': 'F64',
  'torch.float32': 'F32',
  'torch.float16': 'F16',
  'torch.bfloat16': 'BF16',
  'torch.int64': 'I64',
  'torch.int32': 'I32',
  'torch.int16': 'I16',
  'torch.int8': 'I8',
  'torch.uint8': 'U8',
  'torch.bool': 'BOOL',
};

type Fail = (what: string) => never;

/** `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata = None)` */
const rebuildTensor: PyCall = (args, fail) => {
  const [storage, offset, size, stride] = args;
  const blocked = args.slice(0, 4).find((arg) => arg instanceof Placeholder) ?? flippedView(args[6]);
  if (blocked !== undefined) return blocked;
  if (!(storage instanceof TorchStorage)) return fail('a tensor without a storage');
  if (storage.dtype === undefined) return fail('a tensor of an untyped storage without a dtype');
  return view(storage, storage.dtype, offset, size, stride, fail);
};

/** `torch._utils._rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)` */
const rebuildUntyped: PyCall = (args, fail) => {
  const [storage, offset, size, stride, , , dtypeName] = args;
  const blocked =
    [storage, offset, size, stride, dtypeName].find((arg) => arg instanceof Placeholder) ??
    flippedView(args[7]);
  if (blocked !== undefined) return blocked;
  const dtype = dtypeName instanceof PyGlobal ? DTYPES[dtypeName.dotted] : undefined;
  if (!(storage instanceof TorchStorage)) return fail('a tensor without a storage');
  if (dtype === undefined) return fail('a tensor without a dtype');
  return view(storage, dtype, offset, size, stride, fail);
};

/** A lazily negated or conjugated view: its bytes are not its values. */
function flippedView(metadata: PyValue | undefined): Placeholder | undefined {
  if (!(metadata instanceof PyDict)) return undefined;
  const flipped = metadata.entries.get('neg') === true || metadata.entries.get('conj') === true;
  return flipped ? new Placeholder('torch view with its neg or conj bit set') : undefined;
}

function view(
  storage: TorchStorage,
  dtype: WeightDType,
  offset: PyValue | undefined,
  size: PyValue | undefined,
  stride: PyValue | undefined,
  fail: Fail,
): TorchTensor {
  if (!isCount(offset)) return fail('a tensor without a storage offset');
  const shape = counts(size);
  const strides = counts(stride);
  if (shape === undefined || strides === undefined || shape.length !== strides.length) {
    return fail('a tensor without a valid size and stride');
  }
  return new TorchTensor(storage, dtype, offset, shape, strides);
}

/** Functions whose result is, for us, their first argument. */
const firstArgument: PyCall = ([first], fail) => first ?? fail('a call that lacks its first argument');

const emptyDict: (dotted: string) => PyCall = (dotted) => (args) =>
  // Filled by SETITEMS afterwards. Copying an argument would let a small file ask for endless copies.
  args.length === 0 || dotted === 'collections.defaultdict' ? new PyDict() : new Placeholder(dotted);

/** A sequence made from another shares its items instead of copying them, for the same reason. */
const sequence: PyCall = ([items]) => (items === undefined ? new PyTuple([]) : items);

/** `torch._tensor._rebuild_from_type_v2(function, class, args, state)`: a tensor that had attributes. */
const rebuildFromType: PyCall = ([func, type, args], fail) => {
  // A class of someone else's may mean something else by its bytes.
  if (func instanceof Placeholder) return func;
  if (type instanceof Placeholder) return type;
  if (!(func instanceof PyGlobal) || func.call === undefined) return fail('a tensor without its function');
  // One level only: a chain of these could not be of PyTorch's making.
  if (func.call === rebuildFromType) return fail('a tensor class within a tensor class');
  if (!(args instanceof PyTuple)) return fail('a tensor without arguments');
  return func.call(args.items, fail);
};

/** All the names a pickle may use with effect; everything else is inert. */
export const TORCH_GLOBALS: ReadonlyMap<string, PyCall | null> = new Map<string, PyCall | null>([
  ['torch._utils._rebuild_tensor', rebuildTensor],
  ['torch._utils._rebuild_tensor_v2', rebuildTensor],
  ['torch._utils._rebuild_tensor_v3', rebuildUntyped],
  ['torch._utils._rebuild_parameter', firstArgument],
  ['torch._utils._rebuild_parameter_with_state', firstArgument],
  ['torch._tensor._rebuild_from_type_v2', rebuildFromType],
  ['torch.Tensor', null],
  ['torch.nn.parameter.Parameter', null],
  ['torch.Size', sequence],
  ['builtins.tuple', sequence],
  ['builtins.list', sequence],
  ['builtins.set', sequence],
  ['builtins.frozenset', sequence],
  ['builtins.dict', emptyDict('builtins.dict')],
  ['collections.OrderedDict', emptyDict('collections.OrderedDict')],
  ['collections.defaultdict', emptyDict('collections.defaultdict')],
  ...Object.keys(STORAGES).map((name): [string, null] => [`torch.${name}`, null]),
  ...[...UNTYPED].map((name): [string, null] => [name, null]),
  ...Object.keys(DTYPES).map((name): [string, null] => [name, null]),
]);

/** Persistent ids are `('storage', storage class, key, location, length)`; the location (a device) is moot. */
export function torchStorage(id: PyValue, fail: Fail): PyValue {
  const [tag, type, key, , length] = id instanceof PyTuple ? id.items : [];
  if (tag !== 'storage') return fail('a persistent id that is not a PyTorch storage');
  if (type instanceof Placeholder) return type;
  if (!(type instanceof PyGlobal) || typeof key !== 'string' || !isCount(length)) {
    return fail('a PyTorch storage without class, key or length');
  }
  const dtype = STORAGES[type.dotted.replace(/^torch\./, '')];
  if (dtype === undefined && !UNTYPED.has(type.dotted)) return fail(`a storage of class ${type.dotted}`);
  return new TorchStorage(key, dtype, length);
}

/** As many axes as a tensor of PyTorch's can have. */
const MAX_AXES = 64;

function counts(value: PyValue | undefined): readonly number[] | undefined {
  const items = value instanceof PyTuple ? value.items : value;
  // Looked at first: a long tuple that many tensors share would be gone through for each of them.
  const few = Array.isArray(items) && items.length <= MAX_AXES;
  return few && items.every(isCount) ? items : undefined;
}

function isCount(value: PyValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
