/** DICOM files sorted into what can be opened: the series of a folder, and within one what has the same orientation and size. */
import type { ByteSource } from '../../../base/byte-source.js';
import { checkAborted, SgpSamError } from '../../../base/errors.js';
import type { Vec3 } from '../../types.js';
import type { ReadVolumeOptions, SeriesInfo } from '../format.js';
import { baseName } from '../voxel-pieces.js';
import { type DicomFrame, type DicomImage, type DicomObject, readDicomFile } from './image.js';

/** A slice: a frame and its file. */
export interface Slice {
  readonly image: DicomImage;
  readonly frame: DicomFrame;
}

/** Slices of one series that can be one volume: same sizes, same orientation. */
export interface Stack {
  readonly info: SeriesInfo;
  readonly slices: readonly Slice[];
}

/** Files whose headers are read at the same time. */
const AT_ONCE = 16;

/**
 * Reads the headers of files, pixels left where they are.
 * @throws SgpSamError `bad-file` for a DICOM file that cannot be parsed; `aborted`
 */
export async function readHeaders(
  files: readonly ByteSource[],
  { progress, signal }: ReadVolumeOptions,
): Promise<{ images: DicomImage[]; objects: DicomObject[] }> {
  const found = new Array<Awaited<ReturnType<typeof readDicomFile>>>(files.length);
  let next = 0;
  let done = 0;
  const work = async () => {
    for (let n = next++; n < files.length; n = next++) {
      checkAborted(signal);
      found[n] = await readDicomFile(files[n]);
      done++;
      if (done % 20 === 0 || done === files.length) progress?.({ stage: 'files', done, total: files.length });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const images: DicomImage[] = [];
  const objects: DicomObject[] = [];
  for (const one of found) {
    if (one && 'image' in one) images.push(one.image);
    else if (one) objects.push(one.object);
  }
  return { images, objects };
}

/** How far components of directions may differ: half a degree. */
const SAME_DIRECTION = 0.008;

const near = (a: readonly number[] | undefined, b: readonly number[] | undefined, most: number): boolean =>
  a === undefined || b === undefined ? a === b : a.every((v, n) => Math.abs(v - b[n]) <= most);

const isLocaliser = ({ imageType }: DicomImage): boolean =>
  imageType.some((word) => /^LOCALI[SZ]ER$/i.test(word.trim()));

/** Sorts images into stacks; those of series in the order of their numbers, larger parts of a series first. */
export function sortImages(images: readonly DicomImage[]): Stack[] {
  const series = new Map<string, Slice[][]>();
  for (const image of images) {
    const parts = series.get(image.series) ?? [];
    series.set(image.series, parts);
    for (const frame of image.frames) {
      const part = parts.find(([first]) => {
        const same = first.image;
        return (
          same.rows === image.rows &&
          same.columns === image.columns &&
          isLocaliser(same) === isLocaliser(image) &&
          near(first.frame.orientation, frame.orientation, SAME_DIRECTION) &&
          near(first.frame.spacing, frame.spacing, 1e-3)
        );
      });
      if (part) part.push({ image, frame });
      else parts.push([{ image, frame }]);
    }
  }
  const all = [...series.values()].sort((a, b) => {
    const [x, y] = [a[0][0].image, b[0][0].image];
    return x.seriesNumber - y.seriesNumber || (x.series < y.series ? -1 : 1);
  });
  const parts = all.flatMap((own) =>
    own.sort((a, b) => b.length - a.length).map((slices) => ({ slices, of: own.length })),
  );
  return parts.map(({ slices, of }, n) => ({ slices, info: infoOf(slices, n + 1, of) }));
}

function infoOf(slices: readonly Slice[], number: number, parts: number): SeriesInfo {
  const { image, frame } = slices[0];
  const dims: Vec3 = [image.columns, image.rows, slices.length];
  return {
    number,
    seriesInstanceUid: image.series,
    description: image.description,
    modality: image.modality,
    dims,
    files: new Set(slices.map((slice) => slice.image)).size,
    localiser: isLocaliser(image),
    ...(parts > 1 ? { orientation: planeOf(frame.orientation) } : {}),
  };
}

/** What the plane of slices is called. */
function planeOf(orientation: readonly number[] | undefined): string {
  if (!orientation) return 'unplaced';
  const [a, b, c, d, e, f] = orientation as [number, number, number, number, number, number];
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d].map(Math.abs);
  const most = normal.indexOf(Math.max(...normal));
  return `${normal[most] < 0.99 ? 'oblique ' : ''}${['sagittal', 'coronal', 'axial'][most]}`;
}

/** A series as a line of a list. */
export function seriesLine({
  number,
  modality,
  description,
  dims,
  orientation,
  localiser,
}: SeriesInfo): string {
  return [
    `${number}: ${modality || 'no modality'}`,
    description ? `"${description}"` : '(no description)',
    dims.join(' × '),
    orientation,
    localiser ? 'localiser' : undefined,
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * The stack that is asked for, or the only one there is: localisers stand back for anything else.
 * @throws SgpSamError `bad-argument` listing the series when one must be chosen, or what was asked for is not there
 */
export function chooseStack(
  stacks: readonly Stack[],
  asked: string | number | undefined,
  where: string,
): Stack {
  const list = `${stacks.map(({ info }) => `\n    ${seriesLine(info)}`).join('')}`;
  if (asked !== undefined) {
    const text = String(asked).trim();
    const simple = (one: string) => one.toLowerCase();
    const matches =
      [
        stacks.filter(({ info }) => /^\d+$/.test(text) && info.number === Number(text)),
        stacks.filter(({ info }) => info.seriesInstanceUid === text),
        stacks.filter(({ info }) => simple(info.description) === simple(text)),
        stacks.filter(({ info }) => text !== '' && simple(info.description).includes(simple(text))),
      ].find((found) => found.length > 0) ?? [];
    if (matches.length === 1) return matches[0];
    throw new SgpSamError(
      'bad-argument',
      `${where}: ${matches.length === 0 ? 'no' : 'more than one'} series is ${JSON.stringify(text)}. There ${stacks.length === 1 ? 'is' : 'are'}:${list}`,
      'Choose one by its number: --series N (in code { series: N }).',
    );
  }
  const proper = stacks.filter(({ info }) => !info.localiser);
  if (stacks.length === 1) return stacks[0];
  if (proper.length === 1) return proper[0];
  const patients = new Set(stacks.flatMap(({ slices }) => slices.map(({ image }) => image.patient)));
  if (patients.size > 1)
    throw new SgpSamError(
      'bad-argument',
      `${where}: there are images of ${patients.size} patients:${list}`,
      'Give the folder of one patient, or choose a series by its number: --series N (in code { series: N }).',
    );
  throw new SgpSamError(
    'bad-argument',
    `${where}: there are ${stacks.length} series:${list}`,
    'Choose one by its number: --series N (in code { series: N }).',
  );
}

/** A few files' names. */
export function fileNames(slices: readonly Slice[], most = 3): string {
  const names = [...new Set(slices.map(({ image }) => baseName(image.file.name)))];
  return names.length > most
    ? `${names.slice(0, most).join(', ')} and ${names.length - most} more`
    : names.join(', ');
}
