import type { ByteSource } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import { openZip, type ZipArchive, type ZipEntry } from '../base/zip.js';
import { DTYPE_SIZE, decodeF32, elementCount } from './dtype.js';
import { tensorOf } from './lookup.js';
import { unpickle } from './pickle.js';
import { findStateDict } from './state-dict.js';
import { gatherStrided, isContiguous, viewSpan } from './strided.js';
import { TORCH_GLOBALS, type TorchTensor, torchStorage } from './torch-pickle.js';
import type { TensorInfo, WeightOptions, WeightSource } from './weight-source.js';

/** A PyTorch checkpoint as a weight source. */
export interface PthSource extends WeightSource {
  readonly format: 'pth';
  readonly placeholders: readonly string[];
}

/** A pickle of tensor descriptions is far smaller; more than this is data we would not look at anyway. */
const MAX_PICKLE = 64 * 2 ** 20;
/** Elements that a view with repeated elements (stride 0, a saved `expand`) may have beyond its storage's. */
const MAX_EXPANDED = 2 ** 24;
/** Tensors that may share a stored byte, on average. */
const MAX_SHARED = 8;

/**
 * Opens a PyTorch zip checkpoint (torch.save since 1.6), reading its directory and its pickle; tensors are read
 * on demand, each from its own range of the file. Nothing in the pickle is ever run, see `unpickle`.
 * @throws SgpSamError `bad-file` or `unsupported`, naming the file and the place in it.
 */
export async function openPth(source: ByteSource, options: WeightOptions = {}): Promise<PthSource> {
  const zip = await openZip(source);
  const pickle = findPickle(source.name, zip);
  const root = pickle.name.slice(0, -'data.pkl'.length);
  await checkByteOrder(source.name, zip, root);
  const { value, placeholders } = unpickle(await zip.read(pickle), {
    place: `${source.name}: ${pickle.name}`,
    known: TORCH_GLOBALS,
    persistent: torchStorage,
  });
  const { tensors: views, note } = findStateDict(source.name, value, placeholders, options.stateDict);
  const records = new Map<string, ZipEntry>();
  const tensors = new Map<string, TensorInfo>();
  let elements = 0;
  for (const [name, tensor] of views) {
    records.set(name, findRecord(source.name, zip, root, name, tensor));
    tensors.set(name, { name, dtype: tensor.dtype, shape: tensor.shape });
    elements += elementCount(tensor.shape);
  }
  // An element takes a byte at least, and is shared by few tensors (tied weights): else a small file is a flood.
  let stored = 0;
  for (const { size, compressedSize, deflated } of new Set(records.values()))
    stored += deflated ? compressedSize : size;
  if (elements > MAX_SHARED * stored + MAX_EXPANDED) {
    throw new SgpSamError(
      'unsupported',
      `${source.name}: its tensors repeat ${stored} stored bytes to ${elements} elements`,
      'Save them as contiguous tensors.',
    );
  }

  const readRaw = async (name: string) => {
    const { dtype, offset, shape, strides } = tensorOf(source.name, views, name);
    const size = DTYPE_SIZE[dtype];
    const span = viewSpan(shape, strides);
    const bytes = await zip.read(records.get(name)!, span === 0 ? 0 : offset * size, span * size);
    return isContiguous(shape, strides) ? bytes : gatherStrided(bytes, size, shape, strides);
  };
  return {
    name: source.name,
    format: 'pth',
    metadata: {},
    tensors,
    placeholders,
    note,
    readRaw,
    readF32: async (name) => decodeF32(await readRaw(name), tensorOf(source.name, tensors, name).dtype),
    close: () => source.close(),
  };
}

/** The archive has one folder, named as the file was when saved, with the pickle and the storages in it. */
function findPickle(file: string, zip: ZipArchive): ZipEntry {
  const names = [...zip.entries.keys()];
  if (names.some((name) => /^(?:[^/]*\/)?(?:code\/|constants\.pkl$)/.test(name))) {
    throw new SgpSamError(
      'unsupported',
      `${file}: is a TorchScript archive, a program rather than a checkpoint`,
      'In PyTorch: torch.save(torch.jit.load(path).state_dict(), new_path).',
    );
  }
  const found = names.filter((name) => /^(?:[^/]*\/)?data\.pkl$/.test(name));
  const entry = found.length === 1 ? zip.entries.get(found[0])! : undefined;
  if (entry === undefined) {
    const what = found.length > 1 ? 'more than one data.pkl' : 'no data.pkl';
    throw new SgpSamError(
      'bad-file',
      `${file}: a zip archive with ${what}, so not a PyTorch checkpoint`,
      'If the checkpoint was zipped once more for the download, unpack it first.',
    );
  }
  if (entry.size > MAX_PICKLE) {
    throw new SgpSamError(
      'unsupported',
      `${file}: '${entry.name}' has ${entry.size} bytes of pickled objects`,
    );
  }
  return entry;
}

async function checkByteOrder(file: string, zip: ZipArchive, root: string): Promise<void> {
  const record = zip.entries.get(`${root}byteorder`);
  if (record === undefined || record.size > 64) return; // before PyTorch 2.1; all of those were little-endian
  const order = new TextDecoder().decode(await zip.read(record)).trim();
  if (order === 'little') return;
  throw new SgpSamError(
    'unsupported',
    `${file}: its byte order is '${order}', only little-endian is read`,
    'Load and save it again on a little-endian machine.',
  );
}

/** The zip entry with a tensor's storage, after checking that the tensor lies within it. */
function findRecord(
  file: string,
  zip: ZipArchive,
  root: string,
  name: string,
  tensor: TorchTensor,
): ZipEntry {
  const { storage, dtype, offset, shape, strides } = tensor;
  const fail = (what: string): never => {
    throw new SgpSamError('bad-file', `${file}: tensor '${name}' ${what}`);
  };
  const path = `${root}data/${storage.key}`;
  const record = zip.entries.get(path) ?? fail(`has its values in '${path}', which is missing`);
  const bytes = storage.length * (storage.dtype ? DTYPE_SIZE[storage.dtype] : 1);
  if (record.size !== bytes) fail(`needs ${bytes} bytes in '${path}', which has ${record.size}`);
  const length = Math.floor(bytes / DTYPE_SIZE[dtype]);
  const count = elementCount(shape);
  const span = viewSpan(shape, strides);
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(span) || (span > 0 && offset + span > length)) {
    fail(`reaches beyond its storage of ${length} elements (offset ${offset}, shape [${shape.join(', ')}])`);
  }
  if (count > Math.max(length, MAX_EXPANDED)) {
    throw new SgpSamError(
      'unsupported',
      `${file}: tensor '${name}' repeats ${length} stored elements to ${count}`,
      'Save it as a contiguous tensor.',
    );
  }
  return record;
}
