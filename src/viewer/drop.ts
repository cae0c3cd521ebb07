/** Files that are dropped on the page or chosen, several and in folders: which is the scan, the weights, the session. */
import { SgpSamError } from '../base/errors.js';
import { channelFiles, isDataset } from './channel-names.js';
import { baseName, type ScanFiles, setPath } from './scan-files.js';

/** What was found among files, by what their names say. */
export interface Sorted {
  readonly scans: readonly File[];
  readonly weights: readonly File[];
  readonly sessions: readonly File[];
  /** What names the channels of scans. */
  readonly datasets: readonly File[];
}

const kind = (file: File): keyof Sorted =>
  /\.(safetensors|pth)$/i.test(file.name)
    ? 'weights'
    : isDataset(file)
      ? 'datasets'
      : /\.json$/i.test(file.name)
        ? 'sessions'
        : 'scans';

/** Files that systems leave in folders. */
const hidden = ({ name }: File) =>
  name.startsWith('.') ||
  /^(thumbs\.db|desktop\.ini|dicomdir|dataset_description\.json|participants\.(json|tsv))$/i.test(name);

export function sortFiles(files: readonly File[]): Sorted {
  const of = (want: keyof Sorted) => files.filter((file) => !hidden(file) && kind(file) === want);
  const scans = of('scans');
  // What BIDS says of an image is beside it, under its name.
  const about = new Set(scans.map(({ name }) => `${baseName(name)}.json`));
  const sessions = of('sessions').filter(({ name }) => !about.has(name));
  return { scans, weights: of('weights'), sessions, datasets: of('datasets') };
}

/** Scans that are one file; others may be parts of one: a DICOM series, a header and its data. */
const ONE = /\.(nii|nii\.gz|nrrd|mha|zip)$/i;

/** What is to be opened. */
export interface ToOpen {
  readonly scan?: ScanFiles;
  /** What the files of a scan are called that are its channels. */
  readonly channels?: readonly string[];
  readonly dataset?: File;
  readonly weights?: File;
  readonly session?: File;
}

/**
 * What is to be done with files that came together. Of several scans only one can be open.
 * @throws SgpSamError `bad-argument` that names what else came, before anything is opened
 */
export function oneOfEach(files: readonly File[]): ToOpen {
  const { scans, weights, sessions, datasets } = sortFiles(files);
  const whole = scans.filter(({ name }) => ONE.test(name));
  const channels = whole.length === scans.length ? channelFiles(whole) : undefined;
  for (const [what, some] of Object.entries({ scans: channels ? [] : whole, weights, sessions })) {
    if (some.length < 2) continue;
    const few = some.slice(0, 3).map(({ name }) => name);
    throw new SgpSamError(
      'bad-argument',
      `${some.length} ${what} came together: ${few.join(', ')}${some.length > 3 ? ', …' : ''}`,
      'One is open at a time: drop the one you want, with its session or weights if you like.',
    );
  }
  if (scans.length + weights.length + sessions.length === 0)
    throw new SgpSamError(
      'bad-argument',
      'there is no file in what was dropped',
      'Drop a scan: NIfTI, NRRD, MetaImage, DICOM, or a folder or zip archive of DICOM files.',
    );
  const scan = channels?.files ?? (scans.length > 1 ? scans : scans[0]);
  const [own] = weights;
  const [session] = sessions;
  const [dataset] = datasets;
  return {
    ...(scan && { scan }),
    ...(channels && { channels: channels.names }),
    ...(dataset && { dataset }),
    ...(own && { weights: own }),
    ...(session && { session }),
  };
}

/** All files of a drop, those in folders included. */
export async function filesOf(transfer: DataTransfer): Promise<File[]> {
  // Asked for at once: the list is empty after the event.
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry !== null && entry !== undefined);
  const plain = [...transfer.files];
  if (!entries.some(({ isDirectory }) => isDirectory)) return plain;
  return (await Promise.all(entries.map(collect))).flat();
}

async function collect(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((take, fail) => (entry as FileSystemFileEntry).file(take, fail));
    setPath(file, entry.fullPath.replace(/^\//, ''));
    return [file];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Promise<File[]>[] = [];
  for (;;) {
    // A reader gives a hundred at a time.
    const some = await new Promise<FileSystemEntry[]>((take, fail) => reader.readEntries(take, fail));
    if (some.length === 0) return (await Promise.all(found)).flat();
    found.push(...some.map(collect));
  }
}
