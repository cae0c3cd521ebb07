import { SgpSamError } from '../errors.js';
import type { ByteSource } from './byte-source.js';
import { DTYPE_SIZE, decodeF32, elementCount, isWeightDType } from './dtype.js';
import { tensorOf } from './lookup.js';
import type { TensorInfo, WeightSource } from './weight-source.js';

/** The format's own limit for the header; it also bounds what a damaged length makes us allocate. */
const MAX_HEADER = 100_000_000;

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
  const tensors = new Map<string, Placed>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    tensors.set(name, parseEntry(source.name, name, entry, dataStart));
  }
  checkLayout(source, tensors, dataStart);

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
  let header: unknown;
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await source.read(8, size));
    header = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof SgpSamError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SgpSamError('bad-file', `${source.name}: the header is not valid JSON: ${why}`, undefined, {
      cause,
    });
  }
  if (!isRecord(header)) return fail('the header is not a JSON object');
  // JSON.parse silently keeps the last of two equal keys.
  const keys = topLevelKeys(text);
  if (keys.length !== Object.keys(header).length) {
    const twice = keys.find((key, i) => keys.indexOf(key) !== i);
    fail(`the header lists '${twice}' twice`);
  }
  return { header, dataStart: 8 + size };
}

function parseMetadata(file: string, header: Record<string, unknown>): Record<string, string> {
  const metadata = header.__metadata__ ?? {};
  if (!isRecord(metadata)) throw new SgpSamError('bad-file', `${file}: __metadata__ is not an object`);
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
  if (!isRecord(entry)) return fail('is not described by an object');
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

/** The keys of a JSON object, duplicates included. `text` is known to be valid JSON for an object. */
function topLevelKeys(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  let atKey = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      if (atKey) keys.push(JSON.parse(text.slice(start, i + 1)));
      atKey = false;
    } else if (c === '{' || c === '[') {
      depth++;
      atKey = depth === 1;
    } else if (c === '}' || c === ']') {
      depth--;
    } else if (c === ',') {
      atKey = depth === 1;
    }
  }
  return keys;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}
