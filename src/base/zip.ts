import { inflateSync } from 'fflate';
import type { ByteSource } from './byte-source.js';
import { crc32 } from './crc32.js';
import { SgpSamError } from './errors.js';

/** A file in a zip archive, as its central directory describes it. */
export interface ZipEntry {
  readonly name: string;
  /** Size of the content, uncompressed. */
  readonly size: number;
  readonly compressedSize: number;
  readonly deflated: boolean;
  /** CRC-32 of the content; 0 when the writer did not compute it (PyTorch can be told not to). */
  readonly crc: number;
  /** Where its local header is in the archive. */
  readonly headerAt: number;
}

export interface ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /**
   * The content of an entry, or the given range of it. Stored entries are read in place; deflated ones are
   * inflated whole (the last one is remembered, as tensors sharing a storage ask for it in turn). Nothing is
   * returned of an entry whose checksum was not verified: for a range of a stored one all of it is read once.
   * @throws SgpSamError `bad-file` naming archive and entry.
   */
  read(entry: ZipEntry, offset?: number, length?: number): Promise<Uint8Array<ArrayBuffer>>;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END_OF_DIRECTORY = 0x06054b50;
const ZIP64_END = 0x06064b50;
const ZIP64_LOCATOR = 0x07064b50;
/** Deflate cannot expand further than this, so a larger claim is a lie (and maybe a bomb). */
const MAX_INFLATION = 1032;
/** The most that one deflated entry may unpack to; PyTorch itself stores tensors without compression. */
const MAX_INFLATED = 2 ** 27;
/** Entries and bytes of the largest directory: an archive has one entry per tensor. */
const MAX_ENTRIES = 2 ** 17;
const MAX_DIRECTORY = 2 ** 25;
/** Bytes of an entry that are held at once while its checksum is verified. */
const CHECKED_AT_ONCE = 2 ** 22;

/**
 * Reads the directory of a zip archive (zip64 included), nothing else.
 * @throws SgpSamError `bad-file` when it is not a zip or its directory is damaged, `unsupported` for encrypted
 *   or split archives and compression methods other than stored and deflate.
 */
export async function openZip(source: ByteSource): Promise<ZipArchive> {
  const { count, size, offset } = await findDirectory(source);
  if (size > MAX_DIRECTORY && offset + size <= source.size) throw tooLarge(source.name);
  const entries = parseDirectory(source.name, await source.read(offset, size), count);
  let stored = 0;
  for (const { compressedSize } of entries.values()) stored += compressedSize;
  if (stored > source.size) throw new SgpSamError('bad-file', `${source.name}: its zip entries overlap`);
  let inflated: { entry: ZipEntry; content: Uint8Array<ArrayBuffer> } | undefined;
  const verified = new Map<ZipEntry, Promise<void>>();
  const verifyAll = async (entry: ZipEntry, start: number, fail: Fail) => {
    let crc = 0;
    for (let at = 0; at < entry.size; at += CHECKED_AT_ONCE)
      crc = crc32(await source.read(start + at, Math.min(CHECKED_AT_ONCE, entry.size - at)), crc);
    verify(entry, crc, fail);
  };

  return {
    entries,
    async read(entry, at = 0, length = entry.size - at) {
      const fail = (what: string): never => {
        throw new SgpSamError('bad-file', `${source.name}: '${entry.name}' ${what}`);
      };
      if (at < 0 || length < 0 || at + length > entry.size) {
        fail(`has ${entry.size} bytes, but bytes ${at} to ${at + length} are needed`);
      }
      const start = await contentStart(source, entry);
      if (!entry.deflated) {
        if (length < entry.size && entry.crc !== 0) {
          const check = verified.get(entry) ?? verifyAll(entry, start, fail);
          verified.set(entry, check);
          await check;
        }
        const bytes = await source.read(start + at, length);
        if (length === entry.size) verify(entry, crc32(bytes), fail);
        return bytes;
      }
      if (inflated?.entry !== entry) {
        if (entry.size > MAX_INFLATED) {
          throw new SgpSamError(
            'unsupported',
            `${source.name}: '${entry.name}' unpacks to ${entry.size} bytes, and ${MAX_INFLATED} is the most that is read`,
            'Pack the archive again without compression (zip -0), or save it again with PyTorch.',
          );
        }
        const packed = await source.read(start, entry.compressedSize);
        const content = inflate(packed, entry, fail);
        verify(entry, crc32(content), fail);
        inflated = { entry, content };
      }
      return inflated.content.slice(at, at + length);
    },
  };
}

type Fail = (what: string) => never;

function verify(entry: ZipEntry, crc: number, fail: Fail): void {
  if (entry.crc !== 0 && crc !== entry.crc) fail('is damaged: its checksum does not match');
}

function inflate(packed: Uint8Array, entry: ZipEntry, fail: Fail): Uint8Array<ArrayBuffer> {
  let content: Uint8Array<ArrayBuffer>;
  try {
    // One byte more than claimed, so that content that is too long shows.
    content = inflateSync(packed, { out: new Uint8Array(entry.size + 1) });
  } catch (cause) {
    return fail(`cannot be inflated: ${cause instanceof Error ? cause.message : cause}`);
  }
  if (content.byteLength !== entry.size) {
    const found = content.byteLength < entry.size ? `${content.byteLength} bytes` : 'more';
    fail(`inflates to ${found} instead of ${entry.size} bytes`);
  }
  return content;
}

/** The content follows a local header whose variable part may differ in length from the directory's. */
async function contentStart(source: ByteSource, entry: ZipEntry): Promise<number> {
  const header = view(await source.read(entry.headerAt, 30));
  if (header.getUint32(0, true) !== LOCAL_HEADER) {
    throw new SgpSamError('bad-file', `${source.name}: '${entry.name}' is not where the directory says`);
  }
  return entry.headerAt + 30 + header.getUint16(26, true) + header.getUint16(28, true);
}

async function findDirectory(source: ByteSource) {
  const truncated = () =>
    new SgpSamError(
      'bad-file',
      `${source.name}: begins like a zip archive, but its directory is missing`,
      'The file is truncated, or something was appended to it; download or export it again.',
    );
  // The end record is the last thing in the file, but for a comment of up to 65535 bytes.
  const tailSize = Math.min(source.size, 22 + 0xffff);
  const tailAt = source.size - tailSize;
  const tail = view(await source.read(tailAt, tailSize));
  let end = tailSize - 22;
  // Its signature may occur in the comment: the comment must reach to the end exactly.
  const isEnd = () =>
    tail.getUint32(end, true) === END_OF_DIRECTORY && end + 22 + tail.getUint16(end + 20, true) === tailSize;
  while (end >= 0 && !isEnd()) end--;
  if (end < 0) throw truncated();
  if (tail.getUint16(end + 4, true) !== 0 && tail.getUint16(end + 4, true) !== 0xffff) {
    throw new SgpSamError('unsupported', `${source.name}: is one part of a split zip archive`);
  }
  const directory = {
    count: tail.getUint16(end + 10, true),
    size: tail.getUint32(end + 12, true),
    offset: tail.getUint32(end + 16, true),
  };
  const locatorAt = end - 20;
  if (locatorAt < 0 || tail.getUint32(locatorAt, true) !== ZIP64_LOCATOR) return directory;
  const zip64At = toNumber(tail.getBigUint64(locatorAt + 8, true));
  const zip64 = view(await source.read(zip64At, 56));
  if (zip64.getUint32(0, true) !== ZIP64_END) throw truncated();
  return {
    count: toNumber(zip64.getBigUint64(32, true)),
    size: toNumber(zip64.getBigUint64(40, true)),
    offset: toNumber(zip64.getBigUint64(48, true)),
  };
}

function tooLarge(file: string): SgpSamError {
  const what = `${file}: its zip directory has more than ${MAX_ENTRIES} entries or ${MAX_DIRECTORY} bytes`;
  return new SgpSamError('unsupported', what, 'Save the state dict alone.');
}

function parseDirectory(file: string, bytes: Uint8Array, count: number): Map<string, ZipEntry> {
  const directory = view(bytes);
  const entries = new Map<string, ZipEntry>();
  const damaged = (at: number) =>
    new SgpSamError('bad-file', `${file}: its zip directory is damaged (entry ${entries.size}, byte ${at})`);
  let at = 0;
  while (entries.size < count) {
    if (at + 46 > bytes.length || directory.getUint32(at, true) !== CENTRAL_HEADER) throw damaged(at);
    const nameEnd = at + 46 + directory.getUint16(at + 28, true);
    const extraEnd = nameEnd + directory.getUint16(at + 30, true);
    const next = extraEnd + directory.getUint16(at + 32, true);
    if (next > bytes.length) throw damaged(at);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, nameEnd));
    if (entries.has(name)) throw new SgpSamError('bad-file', `${file}: holds '${name}' twice`);
    if (directory.getUint16(at + 8, true) & 1) {
      throw new SgpSamError('unsupported', `${file}: '${name}' is encrypted`, 'Unpack it first.');
    }
    const method = directory.getUint16(at + 10, true);
    if (method !== 0 && method !== 8) {
      throw new SgpSamError('unsupported', `${file}: '${name}' has zip compression method ${method}`);
    }
    const fields = zip64Fields(directory, at, nameEnd, extraEnd);
    if (fields === undefined) throw damaged(at);
    const { size, compressedSize, headerAt } = fields;
    const deflated = method === 8;
    if (deflated ? size > compressedSize * MAX_INFLATION + 64 : size !== compressedSize) {
      throw new SgpSamError('bad-file', `${file}: '${name}' claims ${size} bytes out of ${compressedSize}`);
    }
    if (entries.size === MAX_ENTRIES) throw tooLarge(file);
    entries.set(name, {
      name,
      size,
      compressedSize,
      deflated,
      crc: directory.getUint32(at + 16, true),
      headerAt,
    });
    at = next;
  }
  if (at !== bytes.length) throw damaged(at);
  return entries;
}

/** Sizes and place of an entry; those of 0xffffffff are in the zip64 extra field, in this order. */
function zip64Fields(directory: DataView, at: number, extraAt: number, extraEnd: number) {
  const small = [directory.getUint32(at + 24, true), directory.getUint32(at + 20, true)];
  small.push(directory.getUint32(at + 42, true));
  let field = 0;
  let fieldEnd = 0;
  for (let p = extraAt; p + 4 <= extraEnd; ) {
    const end = p + 4 + directory.getUint16(p + 2, true);
    if (directory.getUint16(p, true) === 1 && end <= extraEnd) {
      field = p + 4;
      fieldEnd = end;
      break;
    }
    p = end;
  }
  const values: number[] = [];
  for (const value of small) {
    if (value !== 0xffffffff) {
      values.push(value);
      continue;
    }
    if (field + 8 > fieldEnd) return undefined;
    values.push(toNumber(directory.getBigUint64(field, true)));
    field += 8;
  }
  const [size, compressedSize, headerAt] = values as [number, number, number];
  return { size, compressedSize, headerAt };
}

/** Far beyond any file, instead of an inexact number. */
function toNumber(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
