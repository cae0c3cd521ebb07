/** The values of a frame. */
import dicomParser from 'dicom-parser';
import { SgpSamError } from '../../../base/errors.js';
import { PLAIN, syntaxOf, unpack } from './codecs.js';
import { type DataSet, DOUBLE_PIXELS, type Element, FLOAT_PIXELS, PIXEL_DATA } from './dataset.js';
import type { DicomImage } from './image.js';

/**
 * What can be said of a file before its pixels are read.
 * @throws SgpSamError `bad-file` or `unsupported` for colour, a transfer syntax or a bit depth that is not read, a file that was cut
 */
export function checkPixels(image: DicomImage): void {
  const { file, samples, photometric, bitsAllocated, bitsStored, highBit, missing, rows, columns } = image;
  const { name } = file;
  const refuse = (what: string, mend: string) => new SgpSamError('unsupported', `${name}: ${what}`, mend);
  syntaxOf(image.transferSyntax, name);
  if (samples !== 1 || !/^MONOCHROME[12]$/.test(photometric || 'MONOCHROME2'))
    throw refuse(
      `it is a colour image (${photometric}), which has no single value per voxel`,
      'Give the original series.',
    );
  if (
    image.pixels === 'integer' &&
    (![8, 16, 32].includes(bitsAllocated) ||
      bitsStored > bitsAllocated ||
      highBit >= bitsAllocated ||
      highBit + 1 < bitsStored)
  )
    throw refuse(
      `its values have ${bitsStored} of ${bitsAllocated} bits, the highest ${highBit}`,
      'Values of 8, 16 and 32 bits are read: convert it first.',
    );
  if (rows < 1 || columns < 1)
    throw new SgpSamError(
      'bad-file',
      `${name}: it has ${rows} rows and ${columns} columns`,
      'Export it again.',
    );
  if (!image.table && image.frames.some(({ slope, inter }) => Number.isNaN(slope + inter)))
    throw new SgpSamError(
      'bad-file',
      `${name}: its RescaleSlope or RescaleIntercept is no number`,
      'Its values are not known without them: export it again.',
    );
  if (missing > 0)
    throw new SgpSamError(
      'bad-file',
      `${name}: ${missing} bytes of its pixels are missing`,
      'The file was cut short, or its transfer syntax is wrong: copy or export it again.',
    );
}

/** Bytes of one frame of compressed pixel data, its fragments joined. */
function fragmentOf(set: DataSet, element: Element, frame: number, frames: number, name: string): Uint8Array {
  const fail = (what: string) =>
    new SgpSamError('bad-file', `${name}: ${what}`, 'It was cut short or damaged: copy or export it again.');
  const { fragments, basicOffsetTable } = element;
  if (!element.encapsulatedPixelData || !fragments)
    throw new SgpSamError(
      'bad-file',
      `${name}: it says that its pixels are compressed, and they are not`,
      'Its transfer syntax is wrong: export the series again.',
    );
  if (frames === 1) {
    if (fragments.length === 0) throw fail('it has no pixels');
    return Uint8Array.from(
      dicomParser.readEncapsulatedPixelDataFromFragments(set, element, 0, fragments.length),
    );
  }
  if (basicOffsetTable && basicOffsetTable.length === frames)
    return Uint8Array.from(dicomParser.readEncapsulatedImageFrame(set, element, frame));
  if (fragments.length === frames)
    return Uint8Array.from(dicomParser.readEncapsulatedPixelDataFromFragments(set, element, frame));
  if (fragments.length < frames) throw fail(`it has ${fragments.length} compressed frames of ${frames}`);
  const table = dicomParser.createJPEGBasicOffsetTable(set, element);
  return Uint8Array.from(dicomParser.readEncapsulatedImageFrame(set, element, frame, table));
}

/** A frame's values. */
export type StoredValues =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/**
 * A frame's values as stored, before any rescaling.
 * @param set the whole file
 * @throws SgpSamError `bad-file` for pixels that are cut, damaged or compressed otherwise than the file says
 */
export async function frameValues(image: DicomImage, set: DataSet, frame: number): Promise<StoredValues> {
  const { rows, columns, bitsAllocated, transferSyntax, pixels, file, frames } = image;
  const { name } = file;
  const element =
    set.elements[{ integer: PIXEL_DATA, float32: FLOAT_PIXELS, float64: DOUBLE_PIXELS }[pixels]];
  if (!element)
    throw new SgpSamError(
      'bad-file',
      `${name}: it ends before its pixels`,
      'The file was cut short: copy or export it again.',
    );
  const count = rows * columns;
  const bytesPerValue = pixels === 'float64' ? 8 : pixels === 'float32' ? 4 : bitsAllocated / 8;
  const syntax = syntaxOf(transferSyntax, name);
  let bytes: Uint8Array;
  let littleEndian = true;
  if (syntax)
    bytes = await unpack(syntax, {
      bytes: fragmentOf(set, element, frame, frames.length, name),
      rows,
      columns,
      bytesPerValue,
      name,
    });
  else {
    const at = element.dataOffset + frame * count * bytesPerValue;
    const end = Math.min(set.byteArray.length, element.dataOffset + element.length);
    if (element.encapsulatedPixelData)
      throw new SgpSamError(
        'bad-file',
        `${name}: its pixels are compressed, and it says that they are not`,
        'Its transfer syntax is wrong: export the series again.',
      );
    if (at + count * bytesPerValue > end)
      throw new SgpSamError(
        'bad-file',
        `${name}: ${at + count * bytesPerValue - end} bytes of its pixels are missing`,
        'The file was cut short: copy or export it again.',
      );
    bytes = set.byteArray.subarray(at, at + count * bytesPerValue) as Uint8Array;
    littleEndian = PLAIN[transferSyntax] !== 'big';
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (pixels !== 'integer') {
    const out = pixels === 'float32' ? new Float32Array(count) : new Float64Array(count);
    for (let n = 0; n < count; n++)
      out[n] =
        pixels === 'float32' ? view.getFloat32(4 * n, littleEndian) : view.getFloat64(8 * n, littleEndian);
    return out;
  }
  return integers(view, image, count, littleEndian);
}

/** Types of values that fill their bits, in this machine's order, which is little-endian wherever WebGPU is. */
const FULL = {
  8: [Uint8Array, Int8Array],
  16: [Uint16Array, Int16Array],
  32: [Uint32Array, Int32Array],
} as const;

/** Bits above the stored ones are overlays, or nothing; the sign is the highest stored bit. */
function integers(
  view: DataView,
  { bitsAllocated, bitsStored, highBit, signed }: DicomImage,
  count: number,
  littleEndian: boolean,
): StoredValues {
  if (bitsStored === bitsAllocated && (littleEndian || bitsAllocated === 8)) {
    const type = FULL[bitsAllocated as keyof typeof FULL][signed ? 1 : 0];
    const { byteOffset, byteLength } = view;
    const buffer = view.buffer as ArrayBuffer;
    return byteOffset % type.BYTES_PER_ELEMENT === 0
      ? new type(buffer, byteOffset, count)
      : new type(buffer.slice(byteOffset, byteOffset + byteLength), 0, count);
  }
  const out = signed ? new Int32Array(count) : new Uint32Array(count);
  const left = 31 - highBit;
  const right = 32 - bitsStored;
  for (let n = 0; n < count; n++) {
    const raw =
      bitsAllocated === 8
        ? view.getUint8(n)
        : bitsAllocated === 16
          ? view.getUint16(2 * n, littleEndian)
          : view.getUint32(4 * n, littleEndian);
    out[n] = signed ? (raw << left) >> right : (raw << left) >>> right;
  }
  return out;
}
