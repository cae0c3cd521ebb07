/** Small DICOM series made by the tests: classic and multi-frame, in any order and orientation. */
import { type CroppedMask, cropMask } from '../../../src/imaging/crop.js';
import {
  type Content,
  datasetOf,
  EXPLICIT_LITTLE_ENDIAN,
  parseDicom,
  writeDicom,
} from '../../../src/imaging/dicom-seg/dataset.js';
import type { Plane } from '../../../src/imaging/dicom-seg/planes.js';
import type { SourceFile } from '../../../src/imaging/dicom-seg/source.js';
import { encodeDicomSeg } from '../../../src/imaging/dicom-seg/write.js';
import type { Vec3, VoxelGrid } from '../../../src/imaging/types.js';

export interface MadeFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface SeriesOptions {
  /** Columns, rows, slices. */
  readonly dims?: Vec3;
  /** Millimetres from column to column, row to row, slice to slice. */
  readonly spacing?: Vec3;
  /** Directions of the rows and of the columns (LPS), unit vectors. */
  readonly orientation?: readonly number[];
  readonly origin?: Vec3;
  readonly multiframe?: boolean;
  /** Sets further elements of every file. */
  readonly extra?: Content;
}

/** An oblique plane: turned by 20° about x and then 15° about z. */
export const OBLIQUE = (() => {
  const [a, b] = [Math.PI / 9, Math.PI / 12];
  return [
    Math.cos(b),
    Math.sin(b),
    0,
    -Math.sin(b) * Math.cos(a),
    Math.cos(b) * Math.cos(a),
    Math.sin(a),
  ].map((v) => +v.toFixed(10));
})();

const cross = (a: readonly number[], b: readonly number[]) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const ds = (values: readonly number[]) => values.map((v) => String(+v.toFixed(10)).slice(0, 16));

/** A series of CT images, its files out of order, and the grid whose axes are columns, rows and slices. */
export function makeSeries(options: SeriesOptions = {}): { files: MadeFile[]; grid: VoxelGrid } {
  const { dims = [7, 5, 4], spacing = [0.8, 1.25, 2.5], origin = [-31.5, 12.25, 100] } = options;
  const { orientation = [1, 0, 0, 0, 1, 0], multiframe = false, extra = {} } = options;
  const [columns, rows, slices] = dims;
  const [across, down] = [orientation.slice(0, 3), orientation.slice(3)];
  const normal = cross(across, down);
  const place = (k: number) => origin.map((at, a) => at + k * spacing[2] * normal[a]);
  const uid = (tail: string) => `1.2.826.0.1.3680043.10.9999.${tail}`;
  const common = (instance: string, sopClass: string): Content => ({
    SpecificCharacterSet: 'ISO_IR 192',
    SOPClassUID: sopClass,
    SOPInstanceUID: instance,
    StudyDate: '20240102',
    StudyTime: '030405',
    AccessionNumber: 'A1',
    Modality: 'CT',
    Manufacturer: 'nobody',
    ReferringPhysicianName: 'Who^Dr',
    PatientName: 'Phantom^Élise',
    PatientID: 'P-7',
    PatientBirthDate: '19700101',
    PatientSex: 'O',
    StudyInstanceUID: uid('1'),
    SeriesInstanceUID: uid('2'),
    StudyID: 'S1',
    SeriesNumber: 3,
    FrameOfReferenceUID: uid('3'),
    PositionReferenceIndicator: [],
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    Rows: rows,
    Columns: columns,
    BitsAllocated: 16,
    BitsStored: 16,
    HighBit: 15,
    PixelRepresentation: 1,
    RescaleIntercept: 0,
    RescaleSlope: 1,
    ...extra,
  });
  const measures = { PixelSpacing: ds([spacing[1], spacing[0]]), SliceThickness: ds([spacing[2]]) };
  const file = (name: string, instance: string, content: Content): MadeFile => {
    const meta = datasetOf({
      FileMetaInformationVersion: new Uint8Array([0, 1]),
      MediaStorageSOPClassUID: content.SOPClassUID,
      MediaStorageSOPInstanceUID: instance,
      TransferSyntaxUID: EXPLICIT_LITTLE_ENDIAN,
      ImplementationClassUID: uid('4'),
    });
    return { name, bytes: writeDicom(meta, datasetOf(content)) };
  };
  const pixels = (k: number, count: number) =>
    new Uint8Array(Int16Array.from({ length: rows * columns * count }, (_, n) => 100 * k + (n % 97)).buffer);
  const affine = new Float64Array(16);
  for (const [row, sign] of [-1, -1, 1].entries()) {
    affine.set(
      [across[row] * spacing[0], down[row] * spacing[1], normal[row] * spacing[2], origin[row]].map(
        (v) => sign * v,
      ),
      4 * row,
    );
  }
  affine[15] = 1;
  const grid = { dims, affine };
  if (multiframe) {
    // Frames in a mixed order: 1, 3, 5 … then 0, 2, 4 …
    const order = frameOrder(slices);
    const instance = uid('5.1');
    const content: Content = {
      ...common(instance, '1.2.840.10008.5.1.4.1.1.2.2'),
      NumberOfFrames: slices,
      SharedFunctionalGroupsSequence: datasetOf({
        PlaneOrientationSequence: datasetOf({ ImageOrientationPatient: ds(orientation) }),
        PixelMeasuresSequence: datasetOf(measures),
      }),
      PerFrameFunctionalGroupsSequence: order.map((k) =>
        datasetOf({ PlanePositionSequence: datasetOf({ ImagePositionPatient: ds(place(k)) }) }),
      ),
      PixelData: pixels(0, slices),
    };
    return { grid, files: [file('mf.dcm', instance, content)] };
  }
  const files = Array.from({ length: slices }, (_, k) => {
    const instance = uid(`5.${k + 1}`);
    return file(`${k}.dcm`, instance, {
      ...common(instance, '1.2.840.10008.5.1.4.1.1.2'),
      ImageType: ['ORIGINAL', 'PRIMARY', 'AXIAL'],
      InstanceNumber: k + 1,
      ...measures,
      ImageOrientationPatient: ds(orientation),
      ImagePositionPatient: ds(place(k)),
      PixelData: pixels(k, 1),
    });
  });
  return { grid, files: frameOrder(slices).map((k) => files[k]) };
}

/** The order in which files and frames are: odd ones first. */
export const frameOrder = (slices: number): number[] => {
  const all = Array.from({ length: slices }, (_, k) => k);
  return [...all.filter((k) => k % 2 === 1), ...all.filter((k) => k % 2 === 0)];
};

/** The SOP instance of slice k of a classic series. */
export const instanceOf = (k: number): string => `1.2.826.0.1.3680043.10.9999.5.${k + 1}`;

/** A mask of the voxels that `inside` picks. */
export function maskOf(
  { dims }: VoxelGrid,
  inside: (i: number, j: number, k: number) => boolean,
): CroppedMask {
  const [ni, nj, nk] = dims;
  const values = new Uint8Array(ni * nj * nk);
  for (let k = 0, at = 0; k < nk; k++)
    for (let j = 0; j < nj; j++) for (let i = 0; i < ni; i++) values[at++] = inside(i, j, k) ? 1 : 0;
  return cropMask(values, dims);
}

/** The grid of a series' own frames, which lie at equal distances: columns, rows, slices. */
export function gridOf(frames: readonly Plane[]): VoxelGrid {
  const [first] = frames;
  const along = [...new Set(frames.map((frame) => +frame.along.toFixed(4)))].sort((a, b) => a - b);
  const step = along.length > 1 ? (along[along.length - 1] - along[0]) / (along.length - 1) : 1;
  const lowest = frames.reduce((a, b) => (b.along < a.along ? b : a));
  const affine = Float64Array.from(lowest.affine);
  for (const row of [0, 1, 2]) affine[4 * row + 2] *= step;
  return { dims: [first.columns, first.rows, along.length], affine };
}

/** Files as far as their pixels. */
export const headersOf = (files: readonly MadeFile[]): SourceFile[] =>
  files.map(({ name, bytes }) => parseDicom(bytes, name, 'header'));

type Encode = typeof encodeDicomSeg;
/** A segmentation of a series' files. */
export const encode = (
  grid: VoxelGrid,
  files: readonly MadeFile[],
  segments: Parameters<Encode>[2],
  options?: Parameters<Encode>[3],
): Uint8Array<ArrayBuffer> => encodeDicomSeg(grid, headersOf(files), segments, options);
