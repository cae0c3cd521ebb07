/** What of a DICOM file matters here: whose it is, where its frames lie, how their values are stored. */
import type { ByteSource } from '../../../base/byte-source.js';
import { SgpSamError } from '../../../base/errors.js';
import type { Vec3 } from '../../types.js';
import {
  type DataSet,
  DOUBLE_PIXELS,
  FLOAT_PIXELS,
  itemsOf,
  numberOf,
  numbersOf,
  PIXEL_DATA,
  readElements,
  textOf,
} from './dataset.js';
import { type PetDose, petDoseOf } from './suv.js';

/** A frame: one slice. */
export interface DicomFrame {
  /** From 0 within its file. */
  readonly index: number;
  /** Of the first voxel's centre, LPS mm; undefined where the file does not say. */
  readonly position: Vec3 | undefined;
  /** Directions of a row and of a column, LPS. */
  readonly orientation: readonly number[] | undefined;
  /** Between rows, and between columns, mm. */
  readonly spacing: readonly number[] | undefined;
  /** From slice to slice as the file says, mm. */
  readonly thickness: number | undefined;
  readonly slope: number;
  readonly inter: number;
  /** What its rescaled values are, such as HU. */
  readonly unit: string;
}

/** A file with pixels. */
export interface DicomImage {
  readonly file: ByteSource;
  readonly patient: string;
  readonly study: string;
  readonly series: string;
  readonly seriesNumber: number;
  readonly description: string;
  readonly modality: string;
  readonly sopClass: string;
  readonly sopInstance: string;
  readonly instanceNumber: number;
  readonly imageType: readonly string[];
  readonly transferSyntax: string;
  readonly rows: number;
  readonly columns: number;
  readonly samples: number;
  readonly photometric: string;
  readonly bitsAllocated: number;
  readonly bitsStored: number;
  readonly highBit: number;
  readonly signed: boolean;
  readonly pixels: 'integer' | 'float32' | 'float64';
  /** Bytes of plain pixels that the file lacks; it was cut short. */
  readonly missing: number;
  /** The modality's own table, in place of slope and intercept. */
  readonly table: ModalityTable | undefined;
  /** Whether the file says that it was compressed with losses. */
  readonly lossy: boolean;
  readonly frames: readonly DicomFrame[];
  readonly pet: PetDose | undefined;
}

/** A Modality LUT (PS3.3, C.11.1): what stored values from `first` on mean; those beyond an end mean what is there. */
export interface ModalityTable {
  readonly first: number;
  readonly values: Float32Array;
  /** HU, OD, US for unspecified. */
  readonly unit: string;
}

/** A DICOM file without an image of its own: an RTSTRUCT, a segmentation, a report. */
export interface DicomObject {
  readonly file: ByteSource;
  readonly modality: string;
  readonly sopClass: string;
}

/** CT, MR, PET, NM, ultrasound, secondary captures: storage classes of images. */
const IMAGE_CLASS = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(2|4|128|130|20|7)(\.\d+)*$/;
/** Of one file. */
const MOST_FRAMES = 100_000;
const DIRECTORY = '1.2.840.10008.1.3.10';
export const SEGMENTATION = '1.2.840.10008.5.1.4.1.1.66.4';

/**
 * What a file is.
 * @returns undefined for what is no DICOM file, or only a directory of others
 * @throws SgpSamError `bad-file` for one that cannot be parsed, `unsupported` for one of very many frames
 */
export async function readDicomFile(
  file: ByteSource,
): Promise<{ image: DicomImage } | { object: DicomObject } | undefined> {
  const set = await readElements(file);
  if (!set) return undefined;
  const text = (tag: string) => textOf(set, tag);
  const sopClass = text('x00080016');
  if (sopClass === DIRECTORY || text('x00020002') === DIRECTORY || set.elements.x00041220) return undefined;
  const { elements } = set;
  const tag = [PIXEL_DATA, FLOAT_PIXELS, DOUBLE_PIXELS].find((one) => elements[one]);
  const modality = text('x00080060');
  const rows = set.uint16('x00280010') ?? 0;
  const columns = set.uint16('x00280011') ?? 0;
  // Of a file that was cut before its pixels the sizes are left: that is an image, and no other object.
  if (!tag && IMAGE_CLASS.test(sopClass))
    throw new SgpSamError(
      'bad-file',
      `${file.name}: it is an image that ends before its pixels`,
      'The file was cut short: copy or export it again.',
    );
  if ((!tag && !(rows && columns)) || sopClass === SEGMENTATION)
    return { object: { file, modality, sopClass } };
  const bitsAllocated = set.uint16('x00280100') ?? 16;
  const bitsStored = set.uint16('x00280101') ?? bitsAllocated;
  const samples = set.uint16('x00280002') ?? 1;
  const count = Math.max(1, Math.trunc(numberOf(set, 'x00280008') ?? 1));
  if (count > MOST_FRAMES)
    throw new SgpSamError(
      'unsupported',
      `${file.name}: it says that it has ${count} frames; ${MOST_FRAMES} is the most that is read`,
      'Its header is damaged, or it is no volume: export it again.',
    );
  const pixel = tag ? elements[tag] : undefined;
  const plain = pixel && !pixel.hadUndefinedLength && !pixel.encapsulatedPixelData;
  const needed = Math.ceil((rows * columns * samples * count * bitsAllocated) / 8);
  const has = plain ? Math.min(pixel.length, file.size - pixel.dataOffset) : 0;
  const deflated = text('x00020010') === '1.2.840.10008.1.2.1.99';
  return {
    image: {
      file,
      patient: `${text('x00100020')}\\${text('x00100010')}`,
      study: text('x0020000d'),
      series: text('x0020000e'),
      seriesNumber: numberOf(set, 'x00200011') ?? 0,
      description: text('x0008103e'),
      modality,
      sopClass,
      sopInstance: text('x00080018'),
      instanceNumber: numberOf(set, 'x00200013') ?? 0,
      imageType: text('x00080008').split('\\'),
      transferSyntax: text('x00020010') || '1.2.840.10008.1.2',
      rows,
      columns,
      samples,
      photometric: text('x00280004'),
      bitsAllocated,
      bitsStored,
      highBit: set.uint16('x00280102') ?? bitsStored - 1,
      signed: set.uint16('x00280103') === 1,
      pixels: tag === FLOAT_PIXELS ? 'float32' : tag === DOUBLE_PIXELS ? 'float64' : 'integer',
      missing: !tag ? needed : plain && !deflated ? Math.max(0, needed - has) : 0,
      table: tableOf(set, file.name),
      lossy: text('x00282110') === '01',
      frames: framesOf(set, count),
      pet: modality === 'PT' ? petDoseOf(set) : undefined,
    },
  };
}

/** @throws SgpSamError `bad-file` for a table that is not as long as it says */
function tableOf(set: DataSet, name: string): ModalityTable | undefined {
  const [item] = itemsOf(set, 'x00283000');
  if (!item) return undefined;
  const count = item.uint16('x00283002', 0) || 65536;
  const signed = set.uint16('x00280103') === 1;
  const first = (signed ? item.int16('x00283002', 1) : item.uint16('x00283002', 1)) ?? 0;
  const data = item.elements.x00283006;
  const narrow = item.uint16('x00283002', 2) === 8 && data !== undefined && data.length < 2 * count;
  if (!item.elements.x00283002 || !data || data.length < count * (narrow ? 1 : 2))
    throw new SgpSamError(
      'bad-file',
      `${name}: its Modality LUT Sequence holds no table of ${count} values`,
      'It is damaged or cut short: export the series again.',
    );
  const values = Float32Array.from({ length: count }, (_, n) =>
    narrow ? set.byteArray[data.dataOffset + n] : item.uint16('x00283006', n)!,
  );
  return { first, values, unit: textOf(item, 'x00283004') };
}

/** Every frame's place: of the file, or of its functional groups, a frame's own first. */
function framesOf(set: DataSet, count: number): DicomFrame[] {
  const [shared] = itemsOf(set, 'x52009229');
  const own = itemsOf(set, 'x52009230');
  const detector = itemsOf(set, 'x00540022')[0];
  return Array.from({ length: count }, (_, index): DicomFrame => {
    const group = (tag: string) => itemsOf(own[index], tag)[0] ?? itemsOf(shared, tag)[0];
    const measures = group('x00289110');
    const values = group('x00289145');
    const spacing = numbersOf(measures, 'x00280030', 2) ?? numbersOf(set, 'x00280030', 2);
    const thickness =
      numberOf(measures, 'x00180088') ??
      numberOf(set, 'x00180088') ??
      numberOf(measures, 'x00180050') ??
      numberOf(set, 'x00180050');
    const orientation =
      numbersOf(group('x00209116'), 'x00200037', 6) ??
      numbersOf(set, 'x00200037', 6) ??
      numbersOf(detector, 'x00200037', 6);
    const first = numbersOf(set, 'x00200032', 3) ?? numbersOf(detector, 'x00200032', 3);
    const position =
      numbersOf(group('x00209113'), 'x00200032', 3) ??
      framePosition(first, index, count, orientation, thickness);
    return {
      index,
      position: position as Vec3 | undefined,
      orientation,
      spacing,
      thickness: thickness === undefined ? undefined : Math.abs(thickness),
      slope: scaleOf(values, 'x00281053') ?? scaleOf(set, 'x00281053') ?? 1,
      inter: scaleOf(values, 'x00281052') ?? scaleOf(set, 'x00281052') ?? 0,
      unit: values?.string('x00281054')?.trim() ?? textOf(set, 'x00281054'),
    };
  });
}

/** A number that values are scaled by: NaN where there is something that is none, which `checkPixels` refuses. */
const scaleOf = (set: DataSet | undefined, tag: string): number | undefined =>
  numberOf(set, tag) ?? (set && textOf(set, tag) !== '' ? Number.NaN : undefined);

/** Old multi-frame files (NM) say where the first frame is and how far apart the others are. */
function framePosition(
  first: readonly number[] | undefined,
  index: number,
  count: number,
  orientation: readonly number[] | undefined,
  step: number | undefined,
): readonly number[] | undefined {
  if (!first || count === 1) return first;
  if (!orientation || !step) return undefined;
  return first.map((v, a) => v + index * step * normalOf(orientation)[a]);
}

/** Row × column: along which slices are stacked. */
export function normalOf(o: readonly number[]): Vec3 {
  const [a, b, c, d, e, f] = o as [number, number, number, number, number, number];
  return [b * f - c * e, c * d - a * f, a * e - b * d];
}
