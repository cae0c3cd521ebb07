/** Finding, among DICOM files, the series that a volume of another format was made of: the one whose pixels are its voxels. */
import type { ByteSource } from '../../base/byte-source.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import type { DicomSeries, DicomSlice, VoxelGrid } from '../types.js';
import { type DicomFile, itemsOf, textOf } from './dataset.js';
import { type Plane, placementOf, planeOf } from './planes.js';
import { headerOfFile } from './volume.js';

/** An image's place: the planes of its frames; undefined for what has none. */
function planesOf({ name, data }: DicomFile): Plane[] | undefined {
  const [shared] = itemsOf(data, 'SharedFunctionalGroupsSequence');
  const frames = itemsOf(data, 'PerFrameFunctionalGroupsSequence');
  try {
    return frames.length > 0
      ? frames.map((frame) => planeOf(name, data, frame, shared))
      : [planeOf(name, data, undefined, undefined)];
  } catch (error) {
    if (error instanceof SgpSamError) return undefined;
    throw error;
  }
}

/**
 * The series among DICOM files whose images are the slices of a volume.
 * @param files whatever else is among them is passed over
 * @param where what errors call them: a folder's name
 * @throws SgpSamError `bad-argument` where none or several are
 */
export async function referenceSeries(
  files: readonly ByteSource[],
  grid: VoxelGrid,
  where: string,
  signal?: AbortSignal,
): Promise<DicomSeries> {
  const series = new Map<
    string,
    { readonly about: Omit<DicomSeries, 'slices'>; slices: DicomSlice[]; fits: boolean }
  >();
  for (const file of files) {
    checkAborted(signal);
    const header = await headerOfFile(file).catch(() => undefined);
    const planes = header && planesOf(header);
    const uid = header && textOf(header.data, 'SeriesInstanceUID');
    if (!planes || uid === undefined || textOf(header.data, 'Modality') === 'SEG') continue;
    const { data } = header;
    const found = series.get(uid) ?? {
      about: {
        seriesInstanceUid: uid,
        modality: textOf(data, 'Modality') ?? '',
        description: textOf(data, 'SeriesDescription') ?? '',
      },
      slices: [],
      fits: true,
    };
    series.set(uid, found);
    found.fits &&= planes.every((plane) => placementOf(plane, grid) !== undefined);
    const sopInstanceUid = textOf(data, 'SOPInstanceUID') ?? '';
    found.slices.push(...planes.map((_, n) => ({ file, frame: n + 1, sopInstanceUid })));
  }
  const fitting = [...series.values()].filter(
    ({ fits, slices }) => fits && grid.dims.includes(slices.length),
  );
  const [only, ...others] = fitting;
  if (only && others.length === 0) return { ...only.about, slices: only.slices };
  const all = [...series.values()].map(
    ({ about: { modality, description }, slices }) =>
      `${modality} '${description}' (${slices.length} images)`,
  );
  throw new SgpSamError(
    'bad-argument',
    `${where}: of ${series.size} DICOM series, ${fitting.length} lie on the volume's grid of ${grid.dims.join(' × ')}` +
      (all.length > 0 ? `: ${all.slice(0, 8).join(', ')}` : ''),
    'Name the folder of the one series that the volume was made of, without resampling.',
  );
}
