/**
 * Compressed frames. RLE is here, lossy JPEG in `jpeg-lossy.ts`; JPEG lossless is a package of plain JavaScript; JPEG-LS and JPEG 2000
 * are WebAssembly, loaded when a file needs it (`wasm-codecs.ts`).
 */
import { SgpSamError } from '../../../base/errors.js';
import { decodeJpeg } from './jpeg-lossy.js';

/** A frame's compressed bytes, and what its values will be. */
export interface Packed {
  readonly bytes: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  /** Of an unpacked value: 1, 2 or 4. */
  readonly bytesPerValue: number;
  /** What errors call the file. */
  readonly name: string;
}

/** Unpacks a frame into rows × columns values, little endian. */
export type Codec = (packed: Packed) => Promise<Uint8Array>;

interface Syntax {
  readonly name: string;
  readonly codec: Codec;
  /** Whether bytes begin as this compression does. */
  readonly begins: (bytes: Uint8Array) => boolean;
  /** Whether values are never quite what they were. */
  readonly lossy?: boolean;
}

const startsWith =
  (...bytes: readonly number[]) =>
  (data: Uint8Array): boolean =>
    bytes.every((byte, n) => data[n] === byte);

/** DICOM's RLE (PS3.5, annex G): a segment per byte of the values, the highest first, each packed as PackBits does. */
const rle: Codec = async ({ bytes, rows, columns, bytesPerValue, name }) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = rows * columns;
  const out = new Uint8Array(size * bytesPerValue);
  for (let segment = 0; segment < bytesPerValue; segment++) {
    let at = view.getUint32(4 + 4 * segment, true);
    const next = segment + 1 < bytesPerValue ? view.getUint32(8 + 4 * segment, true) : bytes.length;
    const place = bytesPerValue - 1 - segment;
    let filled = 0;
    while (filled < size && at < next) {
      const n = bytes[at++];
      if (n === 128) continue;
      const copies = n > 128;
      const count = Math.min(copies ? 257 - n : n + 1, size - filled);
      for (let c = 0; c < count; c++) out[(filled + c) * bytesPerValue + place] = bytes[copies ? at : at + c];
      filled += count;
      at += copies ? 1 : n + 1;
    }
    if (filled < size || at > bytes.length)
      throw new SgpSamError(
        'bad-file',
        `${name}: its RLE data hold ${filled} of ${size} values`,
        'It was cut short: copy or export it again.',
      );
  }
  return out;
};

/** Values of a decoder of 8 or 16 bits as those of the file. */
export function fitted(
  found: { bytes: Uint8Array; bits: number; width: number; height: number; components: number },
  packed: Packed,
): Uint8Array {
  const { rows, columns, bytesPerValue, name } = packed;
  const { bytes, bits, width, height, components } = found;
  if (width !== columns || height !== rows || components !== 1)
    throw new SgpSamError(
      'bad-file',
      `${name}: its compressed frame is ${width} × ${height} of ${components} component(s), and the header says ${columns} × ${rows} of 1`,
      'Export it again.',
    );
  const own = bits <= 8 ? 1 : 2;
  if (bytes.length < rows * columns * own)
    throw new SgpSamError(
      'bad-file',
      `${name}: its compressed frame is incomplete`,
      'Copy or export it again.',
    );
  if (own === bytesPerValue) return bytes;
  const out = new Uint8Array(rows * columns * bytesPerValue);
  for (let n = 0; n < rows * columns; n++)
    for (let b = 0; b < Math.min(own, bytesPerValue); b++) out[n * bytesPerValue + b] = bytes[n * own + b];
  return out;
}

const wasm =
  (name: 'jpegLs' | 'jpeg2000'): Codec =>
  async (packed) =>
    (await import('./wasm-codecs.js'))[name](packed);

const jpegLossless: Codec = async (packed) => {
  const { Decoder } = await import('jpeg-lossless-decoder-js');
  const decoder = new Decoder();
  const bytes = packed.bytes.slice();
  const values = decoder.decode(bytes.buffer, 0, bytes.length, packed.bytesPerValue === 1 ? 1 : 2);
  const { dimX: width, dimY: height, numComp: components, precision } = decoder.frame;
  const found = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return fitted(
    {
      bytes: found,
      bits: packed.bytesPerValue === 1 ? 8 : Math.max(precision, 9),
      width,
      height,
      components,
    },
    packed,
  );
};

const jpegLossy: Codec = async (packed) => {
  const { values, ...found } = decodeJpeg(packed.bytes, packed.columns, packed.rows);
  const bytes = found.bits <= 8 ? Uint8Array.from(values) : new Uint8Array(values.buffer);
  return fitted({ ...found, bytes }, packed);
};

const jpeg = startsWith(0xff, 0xd8, 0xff);
const codestream = startsWith(0xff, 0x4f, 0xff, 0x51);
const jp2 = startsWith(0, 0, 0, 12, 0x6a, 0x50);
const j2k = (bytes: Uint8Array) => codestream(bytes) || jp2(bytes);

const syntaxes: Readonly<Record<string, Syntax>> = {
  '1.2.840.10008.1.2.5': {
    name: 'RLE',
    codec: rle,
    begins: (bytes) => bytes.length >= 64 && bytes[0] >= 1 && bytes[0] <= 15 && bytes[1] === 0,
  },
  '1.2.840.10008.1.2.4.50': { name: 'lossy JPEG', codec: jpegLossy, begins: jpeg, lossy: true },
  '1.2.840.10008.1.2.4.51': { name: 'lossy JPEG', codec: jpegLossy, begins: jpeg, lossy: true },
  '1.2.840.10008.1.2.4.57': { name: 'JPEG lossless', codec: jpegLossless, begins: jpeg },
  '1.2.840.10008.1.2.4.70': { name: 'JPEG lossless', codec: jpegLossless, begins: jpeg },
  '1.2.840.10008.1.2.4.80': { name: 'JPEG-LS lossless', codec: wasm('jpegLs'), begins: jpeg },
  '1.2.840.10008.1.2.4.81': {
    name: 'JPEG-LS near-lossless',
    codec: wasm('jpegLs'),
    begins: jpeg,
    lossy: true,
  },
  '1.2.840.10008.1.2.4.90': { name: 'JPEG 2000 lossless', codec: wasm('jpeg2000'), begins: j2k },
  '1.2.840.10008.1.2.4.91': { name: 'JPEG 2000', codec: wasm('jpeg2000'), begins: j2k },
  // OpenJPEG reads these as well.
  '1.2.840.10008.1.2.4.201': {
    name: 'High-Throughput JPEG 2000 lossless',
    codec: wasm('jpeg2000'),
    begins: j2k,
  },
  '1.2.840.10008.1.2.4.202': {
    name: 'High-Throughput JPEG 2000 lossless',
    codec: wasm('jpeg2000'),
    begins: j2k,
  },
  '1.2.840.10008.1.2.4.203': { name: 'High-Throughput JPEG 2000', codec: wasm('jpeg2000'), begins: j2k },
};

/** Transfer syntaxes whose pixels are as they are; the third one's in big endian. */
export const PLAIN: Readonly<Record<string, 'little' | 'big'>> = {
  '1.2.840.10008.1.2': 'little',
  '1.2.840.10008.1.2.1': 'little',
  '1.2.840.10008.1.2.2': 'big',
  '1.2.840.10008.1.2.1.99': 'little',
};

/**
 * How frames of a transfer syntax are unpacked; undefined where they are plain.
 * @throws SgpSamError `unsupported` for one that is not read
 */
export function syntaxOf(uid: string, name: string): Syntax | undefined {
  if (PLAIN[uid]) return undefined;
  const found = syntaxes[uid];
  if (found) return found;
  throw new SgpSamError(
    'unsupported',
    `${name}: its transfer syntax is ${uid}, which is not read`,
    'Unpack it first: `gdcmconv --raw in.dcm out.dcm`.',
  );
}

/**
 * Unpacks a frame.
 * @throws SgpSamError `bad-file` for data that are none of its transfer syntax, or damaged
 */
export async function unpack({ name: what, codec, begins }: Syntax, packed: Packed): Promise<Uint8Array> {
  if (!begins(packed.bytes))
    throw new SgpSamError(
      'bad-file',
      `${packed.name}: it says that its pixels are ${what}, and they are not`,
      'Its transfer syntax is wrong: export the series again.',
    );
  try {
    return await codec(packed);
  } catch (cause) {
    if (cause instanceof SgpSamError) throw cause;
    throw new SgpSamError(
      'bad-file',
      `${packed.name}: its ${what} data cannot be unpacked${cause instanceof Error ? `: ${cause.message}` : ''}`,
      'They are damaged or cut short: copy or export it again.',
      { cause },
    );
  }
}
