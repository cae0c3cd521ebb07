/** In a page: a DICOM segmentation on its series, by cornerstone3D's own adapter. */
import { createFromDICOMSegBuffer } from '@cornerstonejs/adapters/cornerstone3D/Segmentation/generateToolState';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

/** Naturalised data sets: by keyword. */
type Natural = Record<string, unknown> & { readonly SOPInstanceUID: string };

const { DicomMessage, DicomMetaDictionary } = dcmjs.data as unknown as {
  DicomMessage: { readFile(bytes: ArrayBuffer): { dict: object } };
  DicomMetaDictionary: { naturalizeDataset(dict: object): Natural };
};
const numbers = (value: unknown): number[] => [value].flat().map(Number);

/** What cornerstone's loaders tell of an image, from its header. */
function modulesOf(image: Natural): Record<string, unknown> {
  const [rowSpacing, columnSpacing] = numbers(image.PixelSpacing);
  const cosines = numbers(image.ImageOrientationPatient);
  const [rows, columns] = [Number(image.Rows), Number(image.Columns)];
  return {
    instance: image,
    generalImageModule: { sopInstanceUID: image.SOPInstanceUID },
    generalSeriesModule: { seriesInstanceUID: image.SeriesInstanceUID, modality: image.Modality },
    sopCommonModule: { sopInstanceUID: image.SOPInstanceUID, sopClassUID: image.SOPClassUID },
    imagePlaneModule: {
      frameOfReferenceUID: image.FrameOfReferenceUID,
      rows,
      columns,
      imageOrientationPatient: cosines,
      rowCosines: cosines.slice(0, 3),
      columnCosines: cosines.slice(3),
      imagePositionPatient: numbers(image.ImagePositionPatient),
      pixelSpacing: [rowSpacing, columnSpacing],
      rowPixelSpacing: rowSpacing,
      columnPixelSpacing: columnSpacing,
      sliceThickness: Number(image.SliceThickness),
    },
    imagePixelModule: {
      rows,
      columns,
      bitsAllocated: 16,
      bitsStored: 16,
      highBit: 15,
      pixelRepresentation: 1,
      samplesPerPixel: 1,
      photometricInterpretation: 'MONOCHROME2',
    },
  };
}

let calls = 0;

interface LabelImage {
  readonly referencedImageId: string;
  getPixelData?(): ArrayLike<number>;
  readonly voxelManager?: { getScalarData(): ArrayLike<number> };
}

/**
 * @param series the files of the images, in the order of their slices
 * @returns segments by number with their names, and the voxels of each: `slice pixel`
 */
export async function readByCornerstone(
  series: readonly Uint8Array<ArrayBuffer>[],
  seg: Uint8Array<ArrayBuffer>,
) {
  const images = series.map((bytes) =>
    DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(bytes.buffer).dict),
  );
  // Images stay known from call to call.
  const ids = images.map((image, n) => `test:${image.SOPInstanceUID}:${calls}:${n}`);
  calls++;
  const modules = images.map(modulesOf);
  metaData.addProvider((type: string, id: string) => modules[ids.indexOf(id)]?.[type], 10_000);
  const { labelMapImages, segMetadata, overlappingSegments } = await createFromDICOMSegBuffer(
    ids,
    seg.buffer,
    {
      metadataProvider: metaData,
    },
  );
  const voxels: Record<number, string[]> = {};
  for (const layer of labelMapImages as LabelImage[][])
    for (const image of layer) {
      const slice = ids.indexOf(image.referencedImageId);
      const values = image.voxelManager?.getScalarData() ?? image.getPixelData?.() ?? [];
      for (let p = 0; p < values.length; p++) {
        if (values[p] === 0) continue;
        const found = voxels[values[p]] ?? [];
        voxels[values[p]] = found;
        found.push(`${slice} ${p}`);
      }
    }
  const names = (segMetadata.data as ({ SegmentNumber: number; SegmentLabel: string } | undefined)[]).flatMap(
    (one) => (one ? [[Number(one.SegmentNumber), one.SegmentLabel] as const] : []),
  );
  return { names, voxels, overlapping: Boolean(overlappingSegments) };
}
