/** The channels of a scan by what files say: which files they are, and what they are called. */

/** What came with a scan about its channels. */
export interface ChannelsGiven {
  readonly names: readonly (string | undefined)[];
  /** Whether every channel is a file of its own. */
  readonly separate: boolean;
}

/** What sequences and modalities are called at the ends of files' names. */
const SEQUENCE =
  /^(t1|t1n|t1w|t1c|t1ce|t1gd|t1post|t2|t2w|t2f|t2star|t2s|flair|pd|pdw|adc|dwi|trace|swi|asl|cbf|cbv|ct|cta|cect|ldct|pt|pet|suv|mr|ufi|b\d+)$/i;

const stem = (name: string): string => name.replace(/\.(nii(\.gz)?|nrrd|mha)$/i, '');

/**
 * Files that are the channels of one scan by their names, in their order: `case_0000`, `case_0001` as nnU-Net has them; the same but for a
 * last part that names a sequence (`-t1c`, `_flair`); images of the same subject and session by BIDS.
 * @returns undefined for files that are several scans
 */
export function channelFiles(files: readonly File[]): { files: File[]; names: string[] } | undefined {
  if (files.length < 2) return undefined;
  const parts = files.map((file) => ({ file, ...partOf(stem(file.name)) }));
  const [first] = parts;
  const names = parts.map(({ own }) => own);
  if (!first?.scan || parts.some(({ scan }) => scan !== first.scan) || new Set(names).size < names.length)
    return undefined;
  parts.sort((a, b) => a.order - b.order || (a.own < b.own ? -1 : 1));
  return { files: parts.map(({ file }) => file), names: parts.map(({ own }) => own) };
}

/** What of a file's name is the scan's, and what its own. */
function partOf(name: string): { scan: string | undefined; own: string; order: number } {
  const nnunet = /^(.+)_(\d{4})$/.exec(name);
  if (nnunet) return { scan: `${nnunet[1]} nnU-Net`, own: nnunet[2] ?? '', order: Number(nnunet[2]) };
  if (/[-_](mask|seg|dseg|probseg|label)$/i.test(name)) return { scan: undefined, own: name, order: 0 };
  const bids = /^(sub-[^_]+(?:_ses-[^_]+)?)_(.+)$/.exec(name);
  if (bids) {
    const own = (bids[2] ?? '').split('_').map((part) => part.replace(/^(ce|acq|rec|desc)-/, ''));
    return { scan: `${bids[1]} BIDS`, own: [own.pop(), ...own].join(' '), order: 0 };
  }
  const [, scan, own = ''] = /^(.+)[-_.]([^-_.]+)$/.exec(name) ?? [];
  return { scan: SEQUENCE.test(own) ? scan : undefined, own, order: 0 };
}

/** A file that names channels, beside scans: nnU-Net's and the Decathlon's. */
export const isDataset = ({ name }: File): boolean => /^dataset\.json$/i.test(name);

/** The names that a dataset.json has: nnU-Net 2 calls them `channel_names`, nnU-Net 1 and the Decathlon `modality`. */
export async function datasetNames(file: File): Promise<(string | undefined)[]> {
  let value: { channel_names?: unknown; modality?: unknown } | null;
  try {
    value = JSON.parse(await file.text());
  } catch {
    return []; // it only says names: the scan is opened without them
  }
  const named = value?.channel_names ?? value?.modality;
  if (typeof named !== 'object' || named === null) return [];
  return Object.entries(named).reduce<(string | undefined)[]>((all, [number, name]) => {
    if (/^\d{1,3}$/.test(number) && typeof name === 'string') all[Number(number)] = name;
    return all;
  }, []);
}

/** Names in an image's own description: a list of as many as it has channels. */
export function describedNames(description: string | undefined, channels: number): string[] {
  const names = (description ?? '').split(/[;|]/).map((name) => name.trim());
  return channels > 1 && names.length === channels && names.every(Boolean) ? names : [];
}

/** What came with a scan: its files' own names for separate ones, and what a dataset.json says. */
export async function channelsGiven(
  own: readonly string[] | undefined,
  dataset: File | undefined,
): Promise<ChannelsGiven> {
  const named = dataset ? await datasetNames(dataset) : [];
  const names = own ? own.map((one) => (/^\d{4}$/.test(one) ? (named[Number(one)] ?? one) : one)) : named;
  return { names, separate: own !== undefined };
}
