/** Masks as a DICOM segmentation of the series that they were made on (PS3.3 A.51, C.8.20). */
import { SgpSamError } from '../../base/errors.js';
import { voxelSizes } from '../affine.js';
import { type CroppedMask, inCrop } from '../crop.js';
import type { Vec3, VoxelGrid } from '../types.js';
import {
  checkedCode,
  checkName,
  colourOf,
  defaultCategory,
  defaultType,
  type SegmentToWrite,
} from './codes.js';
import {
  type Content,
  type Dataset,
  datasetOf,
  EXPLICIT_LITTLE_ENDIAN,
  pick,
  tagOf,
  writeDicom,
} from './dataset.js';
import { COMPRESSION, FRAME_OF_REFERENCE, PATIENT, STUDY, TRIAL, TYPE_2 } from './modules.js';
import { type Placement, placementOf } from './planes.js';
import { codeItem, labOf } from './segments.js';
import { readSource, type SourceFile, type SourceFrame, type SourceSeries } from './source.js';
import { uidMaker } from './uids.js';

const SEGMENTATION = '1.2.840.10008.5.1.4.1.1.66.4';
/** This writer's, made once from a UUID. */
const IMPLEMENTATION = '2.25.253187442213364113026094741164106811437';

/** How a segmentation is written. */
export interface DicomSegOptions {
  /** SeriesDescription; `sgp-sam` unless given. */
  readonly description?: string | undefined;
  /** SeriesNumber; 300 unless given. */
  readonly seriesNumber?: number | undefined;
  /** How the masks came about; `SEMIAUTOMATIC` unless given. */
  readonly algorithm?: 'SEMIAUTOMATIC' | 'AUTOMATIC' | undefined;
  /** The same seed makes the same UIDs; random ones unless given. */
  readonly uidSeed?: string | undefined;
  /** When it was made; now unless given. */
  readonly date?: Date | undefined;
}

/** An image of the series and where its pixels lie on the grid. */
interface Placed {
  readonly source: SourceFrame;
  readonly placement: Placement;
}

/** A frame to be written: what a segment has in the plane of an image. */
interface Frame {
  readonly segment: number;
  /** Which of the planes, from 0. */
  readonly plane: number;
}

const axisOf = (v: Vec3): number => v.findIndex((n) => n !== 0);
/** The axis of the grid that the placed images are stacked along. */
const stackedAlong = ({ column, row }: Placement): number => 3 - axisOf(column) - axisOf(row);

/** The images in the order in which they lie, each with its place on the grid. */
function place(source: SourceSeries, grid: VoxelGrid): Placed[] {
  const placed = source.frames.map((frame): Placed => {
    const placement = placementOf(frame, grid);
    if (placement) return { source: frame, placement };
    const size = voxelSizes(grid.affine).map((mm) => +mm.toPrecision(4));
    throw new SgpSamError(
      'unsupported',
      `${frame.name}: its pixels (${frame.columns} × ${frame.rows}, ${frame.spacing.join(' × ')} mm, at ${frame.position.join(', ')}) ` +
        `are not the voxels of the volume (${grid.dims.join(' × ')}, ${size.join(' × ')} mm)`,
      'A DICOM segmentation lies on its images’ own grid: segment the series itself, or save as .nii.gz or .seg.nrrd.',
    );
  });
  const [{ source: first, placement }] = placed;
  const axis = stackedAlong(placement);
  const at = new Map<number, SourceFrame>();
  for (const { source: frame, placement: own } of placed) {
    if (stackedAlong(own) !== axis || frame.rows !== first.rows || frame.columns !== first.columns)
      throw new SgpSamError(
        'unsupported',
        `${frame.name}: it is turned or sized otherwise than ${first.name}`,
      );
    const twin = at.get(own.origin[axis]);
    if (twin)
      throw new SgpSamError(
        'unsupported',
        `${frame.name} lies where ${twin.name} does`,
        'Give the images of one volume: one phase, one echo.',
      );
    at.set(own.origin[axis], frame);
  }
  return placed;
}

/** Calls `visit` for every pixel of a plane that a mask has. */
function eachPixel(mask: CroppedMask, { source, placement }: Placed, visit: (pixel: number) => void): void {
  const { box } = mask;
  if (!box) return;
  const { origin, column, row } = placement;
  const [a, b] = [axisOf(column), axisOf(row)];
  const at: [number, number, number] = [...origin];
  for (at[b] = box.min[b]; at[b] <= box.max[b]; at[b]++) {
    const r = (at[b] - origin[b]) * row[b];
    for (at[a] = box.min[a]; at[a] <= box.max[a]; at[a]++)
      if (inCrop(mask, at[0], at[1], at[2])) visit((at[a] - origin[a]) * column[a] + source.columns * r);
  }
}

/** The frames that are not empty, segment by segment. */
function framesOf(segments: readonly SegmentToWrite[], placed: readonly Placed[]): Frame[] {
  const axis = stackedAlong(placed[0].placement);
  const planes = new Map(placed.map(({ placement }, n) => [placement.origin[axis], n]));
  return segments.flatMap(({ name, mask }, segment) => {
    const { box } = mask;
    if (!box) return [];
    const frames: Frame[] = [];
    for (let k = box.min[axis]; k <= box.max[axis]; k++) {
      const from = [...box.min] as [number, number, number];
      const to = [...box.max] as [number, number, number];
      from[axis] = to[axis] = k;
      const plane = planes.get(k);
      const here = plane === undefined ? undefined : placed[plane];
      if (!here) {
        if (isEmpty(mask, from, to)) continue;
        throw new SgpSamError(
          'unsupported',
          `segment '${name}' has voxels in slice ${k} (from 0, along ${'ijk'[axis]}), of which the series has no image`,
        );
      }
      let some = false;
      eachPixel(mask, here, (pixel) => {
        some = true;
        if (pixel < 0 || pixel >= here.source.rows * here.source.columns)
          throw new SgpSamError(
            'unsupported',
            `segment '${name}' reaches beyond the image ${here.source.name}`,
          );
      });
      if (some) frames.push({ segment, plane: plane as number });
    }
    return frames.sort((one, other) => one.plane - other.plane);
  });
}

function isEmpty(mask: CroppedMask, from: Vec3, to: Vec3): boolean {
  for (let k = from[2]; k <= to[2]; k++)
    for (let j = from[1]; j <= to[1]; j++)
      for (let i = from[0]; i <= to[0]; i++) if (inCrop(mask, i, j, k)) return false;
  return true;
}

/** One bit a pixel, the first in the lowest bit, frames without a gap between them (PS3.5 8.1.1); an even number of bytes. */
function packBits(
  frames: readonly Frame[],
  segments: readonly SegmentToWrite[],
  placed: readonly Placed[],
): Uint8Array<ArrayBuffer> {
  const { rows, columns } = placed[0].source;
  const size = rows * columns;
  const bits = new Uint8Array(2 * Math.ceil((frames.length * size) / 16));
  for (const [n, { segment, plane }] of frames.entries())
    eachPixel(segments[segment].mask, placed[plane], (pixel) => {
      const bit = n * size + pixel;
      bits[bit >>> 3] |= 1 << (bit & 7);
    });
  return bits;
}

/** Whether two masks have a voxel in common. */
function overlap(a: CroppedMask, b: CroppedMask): boolean {
  if (!a.box || !b.box) return false;
  const min = [0, 1, 2].map((n) => Math.max(a.box!.min[n], b.box!.min[n]));
  const max = [0, 1, 2].map((n) => Math.min(a.box!.max[n], b.box!.max[n]));
  for (let k = min[2]; k <= max[2]; k++)
    for (let j = min[1]; j <= max[1]; j++)
      for (let i = min[0]; i <= max[0]; i++) if (inCrop(a, i, j, k) && inCrop(b, i, j, k)) return true;
  return false;
}

const DCM = (value: string, meaning: string): Dataset => codeItem({ scheme: 'DCM', value, meaning });
const reference = ({ sopClass, sopInstance }: { sopClass: string; sopInstance: string }): Content => ({
  ReferencedSOPClassUID: sopClass,
  ReferencedSOPInstanceUID: sopInstance,
});

function segmentItem(
  { name, colour, category = defaultCategory, type = defaultType }: SegmentToWrite,
  n: number,
  algorithm: string,
): Dataset {
  return datasetOf({
    SegmentNumber: n + 1,
    SegmentLabel: name,
    SegmentAlgorithmType: algorithm,
    SegmentAlgorithmName: `sgp-sam ${__VERSION__}`,
    SegmentationAlgorithmIdentificationSequence: datasetOf({
      AlgorithmFamilyCodeSequence: DCM('123110', 'Artificial Intelligence'),
      AlgorithmName: 'sgp-sam',
      AlgorithmVersion: __VERSION__,
    }),
    SegmentedPropertyCategoryCodeSequence: codeItem(category),
    SegmentedPropertyTypeCodeSequence: codeItem(type),
    RecommendedDisplayCIELabValue: labOf(colour ?? colourOf(n)),
  });
}

function frameItem({ segment, plane }: Frame, { source }: Placed): Dataset {
  return datasetOf({
    FrameContentSequence: datasetOf({ DimensionIndexValues: [segment + 1, plane + 1] }),
    PlanePositionSequence: datasetOf({ ImagePositionPatient: source.position }),
    SegmentIdentificationSequence: datasetOf({ ReferencedSegmentNumber: segment + 1 }),
    DerivationImageSequence: datasetOf({
      DerivationCodeSequence: DCM('113076', 'Segmentation'),
      SourceImageSequence: datasetOf({
        ...reference(source),
        ReferencedFrameNumber: source.frame,
        SpatialLocationsPreserved: 'YES',
        PurposeOfReferenceCodeSequence: DCM('121322', 'Source image for image processing operation'),
      }),
    }),
  });
}

/** Millimetres as a decimal string: 16 characters at most. */
const decimal = (mm: number): string => String(+mm.toPrecision(10)).slice(0, 16);

/** `20260131` and `142305` of a date, in UTC. */
const stamps = (date: Date): [string, string] => {
  const [day, time] = date.toISOString().split('T');
  return [day.replaceAll('-', ''), time.slice(0, 8).replaceAll(':', '')];
};

/**
 * Writes masks as a binary DICOM segmentation of the series that they were made on: one segment a mask, which may overlap,
 * frames on the images' own planes, empty ones left out. Patient and study are the series'.
 * @param grid the masks' grid, whose voxels must be the images' pixels, whatever the order of its axes
 * @param files the series' files, in any order
 * @throws SgpSamError `unsupported` for a series on another grid, `bad-argument` for names and codes that DICOM cannot hold, masks
 *   without a voxel between them, or files of several series; `bad-file`
 */
export function encodeDicomSeg(
  grid: VoxelGrid,
  files: readonly SourceFile[],
  segments: readonly SegmentToWrite[],
  options: DicomSegOptions = {},
): Uint8Array<ArrayBuffer> {
  for (const { name, category, type } of segments) {
    checkName(name);
    if (category) checkedCode(`segment '${name}': category`, category);
    if (type) checkedCode(`segment '${name}': type`, type);
  }
  if (segments.every(({ mask }) => !mask.box))
    throw new SgpSamError(
      'bad-argument',
      segments.length > 0 ? 'no segment has a voxel' : 'there is no segment',
      'A DICOM segmentation has at least one frame: segment something first.',
    );
  const source = readSource(files);
  const placed = place(source, grid);
  const frames = framesOf(segments, placed);
  const { description = 'sgp-sam', seriesNumber = 300, algorithm = 'SEMIAUTOMATIC', uidSeed } = options;
  const [date, time] = stamps(options.date ?? new Date());
  const uid = uidMaker(uidSeed);
  const [instance, series, dimensions] = [uid(), uid(), uid()];
  const { source: first, placement } = placed[0];
  const between = decimal(spacingAlong(grid, stackedAlong(placement), first));
  const overlaps = segments.some((one, n) =>
    segments.slice(0, n).some((other) => overlap(one.mask, other.mask)),
  );
  const index = (pointer: string, group: string): Dataset =>
    datasetOf({
      DimensionOrganizationUID: dimensions,
      DimensionIndexPointer: pointerTo(pointer),
      FunctionalGroupPointer: pointerTo(group),
      DimensionDescriptionLabel: pointer,
    });
  const own: Content = {
    SpecificCharacterSet: 'ISO_IR 192',
    SOPClassUID: SEGMENTATION,
    SOPInstanceUID: instance,
    Modality: 'SEG',
    SeriesInstanceUID: series,
    SeriesNumber: seriesNumber,
    SeriesDescription: description,
    SeriesDate: date,
    SeriesTime: time,
    Manufacturer: 'sgp-sam',
    ManufacturerModelName: 'sgp-sam',
    DeviceSerialNumber: '0',
    SoftwareVersions: __VERSION__,
    ImageType: ['DERIVED', 'PRIMARY'],
    InstanceNumber: 1,
    InstanceCreationDate: date,
    InstanceCreationTime: time,
    ContentDate: date,
    ContentTime: time,
    ContentLabel: 'SEGMENTATION',
    ContentDescription: description,
    ContentCreatorName: [],
    LossyImageCompression: source.lossy ? undefined : '00',
    SegmentationType: 'BINARY',
    SegmentsOverlap: overlaps ? 'YES' : 'NO',
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    Rows: first.rows,
    Columns: first.columns,
    BitsAllocated: 1,
    BitsStored: 1,
    HighBit: 0,
    PixelRepresentation: 0,
    NumberOfFrames: frames.length,
    SegmentSequence: segments.map((segment, n) => segmentItem(segment, n, algorithm)),
    DimensionOrganizationSequence: datasetOf({ DimensionOrganizationUID: dimensions }),
    DimensionIndexSequence: [
      index('ReferencedSegmentNumber', 'SegmentIdentificationSequence'),
      index('ImagePositionPatient', 'PlanePositionSequence'),
    ],
    ReferencedSeriesSequence: datasetOf({
      SeriesInstanceUID: source.series,
      ReferencedInstanceSequence: source.instances.map((one) => datasetOf(reference(one))),
    }),
    SharedFunctionalGroupsSequence: datasetOf({
      PlaneOrientationSequence: datasetOf({ ImageOrientationPatient: first.orientation }),
      PixelMeasuresSequence: datasetOf({
        SliceThickness: first.thickness ?? between,
        SpacingBetweenSlices: between,
        PixelSpacing: first.spacing,
      }),
    }),
    PerFrameFunctionalGroupsSequence: frames.map((frame) => frameItem(frame, placed[frame.plane])),
    PixelData: packBits(frames, segments, placed),
  };
  const empty = datasetOf(Object.fromEntries(TYPE_2.map((keyword) => [keyword, []])));
  const taken = pick(source.header, [...PATIENT, ...STUDY, ...TRIAL, ...FRAME_OF_REFERENCE]);
  const meta = datasetOf({
    FileMetaInformationVersion: new Uint8Array([0, 1]),
    MediaStorageSOPClassUID: SEGMENTATION,
    MediaStorageSOPInstanceUID: instance,
    TransferSyntaxUID: EXPLICIT_LITTLE_ENDIAN,
    ImplementationClassUID: IMPLEMENTATION,
    ImplementationVersionName: `SGPSAM_${__VERSION__}`.slice(0, 16),
  });
  return writeDicom(
    meta,
    datasetOf(own, { ...empty, ...taken, ...(source.lossy ? pick(source.lossy, COMPRESSION) : {}) }),
  );
}

/** An element's tag as a number, as attribute tags are written. */
const pointerTo = (keyword: string): number => Number.parseInt(tagOf(keyword), 16);

/** Millimetres from slice to slice along the images' normal: less than the grid's step where that is slanted. */
function spacingAlong({ affine }: VoxelGrid, axis: number, { affine: plane }: SourceFrame): number {
  const step = [affine[axis], affine[4 + axis], affine[8 + axis]];
  return Math.abs(step[0] * plane[2] + step[1] * plane[6] + step[2] * plane[10]);
}
