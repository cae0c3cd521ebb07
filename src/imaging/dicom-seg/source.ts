/** A DICOM series as what is derived from it refers to it: instances, frames and where they lie. */
import { SgpSamError } from '../../base/errors.js';
import { type Dataset, type DicomFile, itemsOf, requireText, textOf } from './dataset.js';
import { type Plane, planeOf } from './planes.js';

/** A file of a series, as far as its pixels. */
export interface SourceFile extends DicomFile {
  /** Which of its frames are meant, from 1; all unless given. */
  readonly frames?: ReadonlySet<number> | undefined;
}

/** An image of a series, or one frame of it. */
export interface SourceFrame extends Plane {
  /** What errors call it. */
  readonly name: string;
  readonly sopClass: string;
  readonly sopInstance: string;
  /** From 1, of an instance with several frames. */
  readonly frame: number | undefined;
}

export interface SourceSeries {
  /** The first file's header: patient, study, frame of reference. */
  readonly header: Dataset;
  readonly series: string;
  readonly frameOfReference: string;
  readonly instances: readonly { readonly sopClass: string; readonly sopInstance: string }[];
  /** In the order in which they lie along their normal. */
  readonly frames: readonly SourceFrame[];
  /** The header of an image that was compressed with losses, if there is one. */
  readonly lossy: Dataset | undefined;
}

/** What all of a series' files share. */
const COMMON = ['PatientID', 'StudyInstanceUID', 'SeriesInstanceUID', 'FrameOfReferenceUID'];

/** The frames of one file. */
function framesOf(file: SourceFile): SourceFrame[] {
  const { name, data } = file;
  const own = {
    sopClass: requireText(file, data, 'SOPClassUID'),
    sopInstance: requireText(file, data, 'SOPInstanceUID'),
  };
  const frames = itemsOf(data, 'PerFrameFunctionalGroupsSequence');
  if (frames.length === 0 && Number(textOf(data, 'NumberOfFrames') ?? 1) > 1)
    throw new SgpSamError(
      'unsupported',
      `${name}: it has several frames, and nothing says where each of them lies`,
      'Use the series from before it was put into one file.',
    );
  if (frames.length === 0)
    return [{ ...planeOf(name, data, undefined, undefined), ...own, name, frame: undefined }];
  const [shared] = itemsOf(data, 'SharedFunctionalGroupsSequence');
  return frames.flatMap((groups, n) => {
    if (file.frames && !file.frames.has(n + 1)) return [];
    const where = `${name}: frame ${n + 1}`;
    return { ...planeOf(where, data, groups, shared), ...own, name: where, frame: n + 1 };
  });
}

/**
 * The images of one series, in any order; pixels are not looked at.
 * @throws SgpSamError `bad-file`, `unsupported`; `bad-argument` for files of several series, patients or studies
 */
export function readSource(files: readonly SourceFile[]): SourceSeries {
  if (files.length === 0)
    throw new SgpSamError('bad-argument', 'there is no DICOM file of a series to refer to');
  const [first] = files;
  for (const keyword of COMMON) {
    const wanted = textOf(first.data, keyword);
    const other = files.find(({ data }) => textOf(data, keyword) !== wanted);
    if (other)
      throw new SgpSamError(
        'bad-argument',
        `${other.name}: its ${keyword} is not that of ${first.name}`,
        'Give the files of one series.',
      );
  }
  const seen = new Map<string, string>();
  for (const file of files) {
    const instance = requireText(file, file.data, 'SOPInstanceUID');
    const twin = seen.get(instance);
    if (twin !== undefined)
      throw new SgpSamError(
        'bad-argument',
        `${file.name}: it is the same image as ${twin}: SOPInstanceUID ${instance}`,
        'Leave one of them out.',
      );
    seen.set(instance, file.name);
  }
  const frames = files.flatMap(framesOf).sort((a, b) => a.along - b.along);
  return {
    header: first.data,
    series: requireText(first, first.data, 'SeriesInstanceUID'),
    frameOfReference: requireText(first, first.data, 'FrameOfReferenceUID'),
    instances: files.map(({ data }) => ({
      sopClass: textOf(data, 'SOPClassUID') ?? '',
      sopInstance: textOf(data, 'SOPInstanceUID') ?? '',
    })),
    frames,
    lossy: files.find(({ data }) => textOf(data, 'LossyImageCompression') === '01')?.data,
  };
}
