import type { ByteSource } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import { isJsonObject, type JsonObject, readJson } from '../base/json.js';
import { DTYPE_SIZE, decodeF32, elementCount, isWeightDType } from './dtype.js';
import { tensorOf } from './lookup.js';
import { unwrapNames } from './names.js';
import type { TensorInfo, WeightSource } from './weight-source.js';

/** What a damaged length may make us allocate. The format allows 100 MB; a thousandth of that is a large model's. */
const MAX_HEADER = 2 ** 25;

/** A tensor and where its bytes are in the file. */
interface Placed extends TensorInfo {
  readonly start: number;
  readonly end: number;
}

/**
 * Opens a safetensors file: reads and checks the header, then tensors on demand.
 *
 * Everything the header claims is checked before use: each dtype, shape and byte range, that ranges match
 * their shapes, and that together they cover the data exactly, without overlap or gap, as the format demands.
 * @throws SgpSamError `bad-file`, or `unsupported` for an element type we do not read, naming file and tensor.
 */
export async function openSafetensors(source: ByteSource): Promise<WeightSource> {
  const { header, dataStart } = await readHeader(source);
  const metadata = parseMetadata(source.name, header);
  const placed = new Map<string, Placed>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    placed.set(name, parseEntry(source.name, name, entry, dataStart));
  }
  checkLayout(source, placed, dataStart);
  const tensors = unwrapNames(source.name, placed);
  for (const [name, tensor] of tensors) if (tensor.name !== name) tensors.set(name, { ...tensor, name });

  const readRaw = (name: string) => {
    const tensor = tensorOf(source.name, tensors, name);
    return source.read(tensor.start, tensor.end - tensor.start);
  };
  return {
    name: source.name,
    format: 'safetensors',
    metadata,
    tensors,
    readRaw: async (name) => readRaw(name),
    readF32: async (name) => decodeF32(await readRaw(name), tensorOf(source.name, tensors, name).dtype),
    close: () => source.close(),
  };
}

async function readHeader(source: ByteSource) {
  const fail = (what: string, mend?: string): never => {
    throw new SgpSamError('bad-file', `${source.name}: ${what}`, mend);
  };
  const truncated = 'The file is truncated; download or export it again.';
  if (source.size < 8) fail(`${source.size} bytes are too few for a safetensors file`, truncated);
  const prefix = await source.read(0, 8);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > MAX_HEADER) fail(`its header would be ${length} bytes long: this is not a safetensors file`);
  const size = Number(length);
  if (8 + size > source.size) {
    fail(`the header ends at byte ${8 + size}, but the file has ${source.size}`, truncated);
  }
  const header = readJson(await source.read(8, size), `${source.name}: the header`);
  if (!isJsonObject(header)) return fail('the header is not a JSON object');
  return { header, dataStart: 8 + size };
}

function parseMetadata(file: string, header: JsonObject): Record<string, string> {
  const metadata = header.__metadata__ ?? {};
  if (!isJsonObject(metadata)) throw new SgpSamError('bad-file', `${file}: __metadata__ is not an object`);
  const entries = Object.entries(metadata).map(([key, value]): [string, string] => {
    if (typeof value === 'string') return [key, value];
    throw new SgpSamError('bad-file', `${file}: __metadata__ '${key}' is not a string`);
  });
  return Object.fromEntries(entries);
}

function parseEntry(file: string, name: string, entry: unknown, dataStart: number): Placed {
  const fail = (what: string): never => {
    throw new SgpSamError('bad-file', `${file}: tensor '${name}' ${what}`);
  };
  if (!isJsonObject(entry)) return fail('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isWeightDType(dtype)) {
    if (typeof dtype !== 'string') return fail('has no dtype');
    throw new SgpSamError(
      'unsupported',
      `${file}: tensor '${name}' has element type ${dtype.slice(0, 40)}`,
      `Store it as one of ${Object.keys(DTYPE_SIZE).join(', ')}.`,
    );
  }
  if (!isCounts(shape)) return fail('has no valid shape');
  if (!isCounts(offsets) || offsets.length !== 2) return fail('has no valid data_offsets');
  const [begin, end] = offsets as [number, number];
  const bytes = elementCount(shape) * DTYPE_SIZE[dtype];
  if (end - begin !== bytes) {
    return fail(`is ${dtype} [${shape.join(', ')}], ${bytes} bytes, but has data_offsets ${begin} to ${end}`);
  }
  return { name, dtype, shape, start: dataStart + begin, end: dataStart + end };
}

/** Checks that the tensors cover the bytes after the header exactly. */
function checkLayout(source: ByteSource, tensors: ReadonlyMap<string, Placed>, dataStart: number): void {
  const order = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
  let end = dataStart;
  let previous = 'the header';
  for (const tensor of order) {
    if (tensor.end > source.size) {
      throw new SgpSamError(
        'bad-file',
        `${source.name}: tensor '${tensor.name}' ends at byte ${tensor.end}, but the file has ${source.size}`,
        'The file is truncated; download or export it again.',
      );
    }
    if (tensor.start !== end) {
      const how = tensor.start < end ? 'overlaps' : `leaves ${tensor.start - end} unused bytes after`;
      throw new SgpSamError('bad-file', `${source.name}: tensor '${tensor.name}' ${how} ${previous}`);
    }
    end = tensor.end;
    previous = `'${tensor.name}'`;
  }
  if (end !== source.size) {
    const extra = source.size - end;
    throw new SgpSamError('bad-file', `${source.name}: ${extra} bytes after ${previous} belong to no tensor`);
  }
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
