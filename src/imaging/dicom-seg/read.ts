/** DICOM segmentations as masks on the grid of a volume (PS3.3 A.51, C.8.20). */
import { SgpSamError } from '../../base/errors.js';
import { type CroppedMask, voxelCount } from '../crop.js';
import type { VoxelGrid } from '../types.js';
import type { Code, Rgb } from './codes.js';
import {
  type Dataset,
  type DicomFile,
  itemsOf,
  numbersOf,
  parseDicom,
  pixelsOf,
  requireText,
  requireUncompressed,
  requireWhole,
  textOf,
} from './dataset.js';
import { copied, litOf, resampled, thicknessOf, unite } from './paint.js';
import { placementOf, planeOf } from './planes.js';
import { codeOf, rgbOf } from './segments.js';

const SEGMENTATION = '1.2.840.10008.5.1.4.1.1.66.4';
const LABEL_MAP = '1.2.840.10008.5.1.4.1.1.66.7';

/** A segment of a DICOM segmentation, on a volume's grid. */
export interface DicomSegment {
  /** SegmentNumber, from 1. */
  readonly number: number;
  readonly name: string;
  readonly mask: CroppedMask;
  readonly colour: Rgb | undefined;
  readonly category: Code | undefined;
  readonly type: Code | undefined;
}

/** A DICOM segmentation, on a volume's grid. */
export interface DicomSeg {
  /** In the order of their numbers. */
  readonly segments: readonly DicomSegment[];
  /** The series that it was made on, where it says so. */
  readonly series: string | undefined;
  readonly frameOfReference: string | undefined;
  /** What happened on the way that a reader should know: resampled, thresholded, cut. */
  readonly notes: readonly string[];
}

/** How a segmentation is read. */
export interface ReadDicomSegOptions {
  /** What errors call it. */
  readonly name?: string | undefined;
  /** The FrameOfReferenceUID of the volume, if it is known: a segmentation in another one is refused. */
  readonly frameOfReference?: string | undefined;
}

/** How pixels are stored, and which segment a value belongs to. */
interface Stored {
  readonly bytes: Uint8Array;
  readonly size: number;
  /** Bits per pixel: 1, 8 or 16. */
  readonly bits: number;
  /** Values from this one are inside; undefined where a value is its segment's number. */
  readonly least: number | undefined;
}

function storedOf(file: DicomFile, labels: boolean, frames: number, notes: string[]): Stored {
  const { name, data } = file;
  const size = requireWhole(file, data, 'Rows') * requireWhole(file, data, 'Columns');
  const bits = requireWhole(file, data, 'BitsAllocated');
  const type = labels ? 'LABELMAP' : requireText(file, data, 'SegmentationType');
  const allowed = { BINARY: [1], FRACTIONAL: [8], LABELMAP: [8, 16] }[type];
  if (!allowed)
    throw new SgpSamError(
      'unsupported',
      `${name}: SegmentationType ${type} is not known`,
      'BINARY and FRACTIONAL are.',
    );
  if (!allowed.includes(bits))
    throw new SgpSamError(
      'bad-file',
      `${name}: BitsAllocated is ${bits}, and ${allowed.join(' or ')} in a ${type} one`,
    );
  if (labels && numbersOf(data, 'SamplesPerPixel')[0] === 3)
    throw new SgpSamError('unsupported', `${name}: SamplesPerPixel is 3`);
  let least: number | undefined = 1;
  if (type === 'FRACTIONAL') {
    const most = requireWhole(file, data, 'MaximumFractionalValue');
    least = most / 2;
    const kind = textOf(data, 'SegmentationFractionalType')?.toLowerCase() ?? 'fraction';
    notes.push(`it is fractional (${kind}): voxels of half of its maximum (${most}) and more are inside`);
  }
  const needed = Math.ceil((frames * size * bits) / 8);
  const bytes = pixelsOf(data);
  if (!bytes || bytes.length < needed)
    throw new SgpSamError(
      'bad-file',
      `${name}: PixelData has ${bytes?.length ?? 0} bytes, and ${frames} frames of ${size} pixels need ${needed}`,
      'It was cut short or is damaged: copy or export it again.',
    );
  return { bytes, size, bits, least: labels ? undefined : least };
}

/** A frame's pixels: 1 where they belong to a segment. */
function unpack({ bytes, size, bits, least }: Stored, frame: number, segment: number): Uint8Array {
  const pixels = new Uint8Array(size);
  const first = frame * size;
  if (bits === 1) {
    for (let p = 0; p < size; p++) {
      const bit = first + p;
      const byte = bytes[bit >>> 3];
      // Most of a frame is empty.
      if (byte === 0) p += 7 - (bit & 7);
      else if ((byte >>> (bit & 7)) & 1) pixels[p] = 1;
    }
    return pixels;
  }
  for (let p = 0; p < size; p++) {
    const value = bits === 8 ? bytes[first + p] : bytes[2 * (first + p)] | (bytes[2 * (first + p) + 1] << 8);
    if (least === undefined ? value === segment : value >= least) pixels[p] = 1;
  }
  return pixels;
}

/** The segments' items by number. */
function segmentsOf(file: DicomFile): Map<number, Dataset> {
  const items = itemsOf(file.data, 'SegmentSequence');
  const segments = new Map(
    items.map((item) => [requireWhole(file, item, 'SegmentNumber', 0), item] as const),
  );
  if (segments.size === 0)
    throw new SgpSamError('bad-file', `${file.name}: SegmentSequence is missing or empty`);
  if (segments.size < items.length)
    throw new SgpSamError(
      'bad-file',
      `${file.name}: two items of SegmentSequence have the same SegmentNumber`,
    );
  return segments;
}

/** The number of a frame's segment: its own, or what all frames share. */
function segmentNumber(where: string, groups: readonly (Dataset | undefined)[]): number {
  const item = groups.flatMap((group) => (group ? itemsOf(group, 'SegmentIdentificationSequence') : []))[0];
  return requireWhole({ name: where }, item ?? {}, 'ReferencedSegmentNumber');
}

/**
 * Reads a DICOM segmentation onto the grid of a volume. Frames are placed by where they say they lie, in any order. Where their
 * pixels are voxels of the grid they are copied; else every voxel takes the nearest pixel of the slice that it lies in, which
 * `notes` tells. Binary ones, label maps, and fractional ones (inside from half of the maximum); uncompressed.
 * @throws SgpSamError `bad-file` for what is no DICOM segmentation or is damaged; `unsupported` for a compressed one, or one
 *   whose frames say nothing of where they lie; `bad-prompt` for one of another frame of reference, or all outside of the volume
 */
export function decodeDicomSeg(
  bytes: Uint8Array,
  grid: VoxelGrid,
  options: ReadDicomSegOptions = {},
): DicomSeg {
  const { name = 'segmentation' } = options;
  const file = parseDicom(bytes, name, 'all');
  const { data } = file;
  const kind = requireText(file, data, 'SOPClassUID');
  if (kind !== SEGMENTATION && kind !== LABEL_MAP)
    throw new SgpSamError(
      'bad-file',
      `${name}: this is a DICOM file, and no segmentation: its modality is ${textOf(data, 'Modality') ?? 'missing'}`,
      kind === '1.2.840.10008.5.1.4.1.1.481.3' ? 'RT structure sets are not read.' : undefined,
    );
  requireUncompressed(file);
  const frameOfReference = textOf(data, 'FrameOfReferenceUID');
  if (
    options.frameOfReference !== undefined &&
    frameOfReference !== undefined &&
    frameOfReference !== options.frameOfReference
  )
    throw new SgpSamError(
      'bad-prompt',
      `${name}: its FrameOfReferenceUID is not the volume's: nothing says how one lies in the other`,
      'Use a segmentation of this study’s series, or register it first.',
    );
  const notes: string[] = [];
  const segments = segmentsOf(file);
  const groups = itemsOf(data, 'PerFrameFunctionalGroupsSequence');
  const count = requireWhole(file, data, 'NumberOfFrames');
  if (groups.length !== count)
    throw new SgpSamError(
      'bad-file',
      `${name}: NumberOfFrames is ${count}, and PerFrameFunctionalGroupsSequence has ${groups.length} items`,
    );
  const labels = kind === LABEL_MAP;
  const stored = storedOf(file, labels, count, notes);
  const [shared] = itemsOf(data, 'SharedFunctionalGroupsSequence');
  const planes = groups.map((group, n) => planeOf(`${name}: frame ${n + 1}`, data, group, shared));
  const framesBySegment = new Map([...segments.keys()].map((number) => [number, [] as number[]]));
  for (const [n, group] of groups.entries()) {
    const where = `${name}: frame ${n + 1}`;
    const numbers = labels ? [...segments.keys()] : [segmentNumber(where, [group, shared])];
    for (const number of numbers) {
      const frames = framesBySegment.get(number);
      if (!frames)
        throw new SgpSamError('bad-file', `${where}: there is no segment ${number} in SegmentSequence`);
      frames.push(n);
    }
  }
  const placements = planes.map((plane) => placementOf(plane, grid));
  const other = placements.some((placement) => !placement);
  const thickness = other ? thicknessOf(name, planes) : 0;
  if (other) notes.push('it lies on another grid than the volume: every voxel took the nearest pixel');
  const read = [...segments]
    // A label map's background.
    .filter(([number]) => number > 0)
    .sort(([a], [b]) => a - b)
    .map(([number, item]): DicomSegment => {
      const lit = (framesBySegment.get(number) ?? []).flatMap((n) => {
        const found = litOf(planes[n], unpack(stored, n, number));
        return found ? [{ found, placement: placements[n] }] : [];
      });
      const painters = lit.map(({ found, placement }) =>
        placement && !other ? copied(found, placement, grid.dims) : resampled(found, grid, thickness),
      );
      const mask = unite(painters, grid.dims);
      const label = textOf(item, 'SegmentLabel') ?? `segment ${number}`;
      const outside = painters.reduce((sum, one) => sum + one.outside, 0);
      if (outside > 0)
        notes.push(`${outside} voxels of segment '${label}' lie outside of the volume and are left out`);
      else if (lit.length > 0 && voxelCount(mask) === 0)
        notes.push(`segment '${label}' has no voxel in the volume`);
      return {
        number,
        name: label,
        mask,
        colour: rgbOf(item),
        category: codeOf(item, 'SegmentedPropertyCategoryCodeSequence'),
        type: codeOf(item, 'SegmentedPropertyTypeCodeSequence'),
      };
    });
  if (read.every(({ mask }) => !mask.box))
    throw new SgpSamError(
      'bad-prompt',
      `${name}: none of its segments has a voxel in the volume`,
      'Check that it belongs to this scan.',
    );
  const [referenced] = itemsOf(data, 'ReferencedSeriesSequence');
  const series = referenced ? textOf(referenced, 'SeriesInstanceUID') : undefined;
  return { segments: read, series, frameOfReference, notes };
}
