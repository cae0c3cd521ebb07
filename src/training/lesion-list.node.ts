/** Cases from a list of images and masks that says what each may be used for (`lesions.json`), in Node. */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SgpSamError } from '../errors.js';
import { components } from '../volumes/components.js';
import type { DatasetCase } from '../volumes/dataset.js';
import { type CaseData, type ReadCaseOptions, readCase } from '../volumes/dataset.node.js';
import type { CaseSource, TrainingCase } from './cases.js';

/** A case of a list. */
export interface ListedCase extends TrainingCase {
  /** As the list has it: MR, CT, PET. */
  readonly modality: string;
  /** Lesions without a label remain in the image: what is not labelled is not known to be background. */
  readonly partial: boolean;
}

export interface ListedSource extends CaseSource {
  load(n: number): Promise<ListedCase>;
}

export interface ListCasesOptions {
  /** Only images of these modalities, as the list names them; all if not given. */
  readonly modalities?: readonly string[] | undefined;
  /** Connected parts of a label with fewer voxels are left out; 5 if not given. */
  readonly fewest?: number | undefined;
  /** How a case is read; `readCase` if not given. */
  readonly read?: ((one: DatasetCase, options: ReadCaseOptions) => Promise<CaseData>) | undefined;
}

/** What this file reads of an entry. */
interface Entry {
  readonly image: string;
  readonly label: string;
  readonly labels: readonly number[];
  readonly modality: string;
  readonly partial: boolean;
}

const FEWEST = 5;
/** All that a label volume of 8 bits can hold but 0. */
const ABOVE_ZERO = Array.from({ length: 255 }, (_, n) => n + 1);

/**
 * The lesions of a list that may be trained on: entries with `use: "train"` and `kind: "lesion"`, never another. Every
 * connected part of a label is a lesion. Paths are relative to the list's folder.
 * @param file the list, a JSON array of objects with image, label, value (a whole number or ">0"), modality, kind, use;
 *   `partial` or a `what` that says that lesions remain unlabelled marks a partial case
 * @throws SgpSamError `bad-file` for a list that cannot be read or holds nothing of the kind
 */
export async function listCases(file: string, options: ListCasesOptions = {}): Promise<ListedSource> {
  const { modalities, fewest = FEWEST, read = readCase } = options;
  const all = await readList(file);
  const chosen = all.filter(({ modality }) => !modalities || modalities.includes(modality));
  if (chosen.length === 0) {
    const what = modalities ? ` of ${modalities.join(', ')}` : '';
    throw new SgpSamError(
      'bad-file',
      `${file} lists no lesion${what} with "use": "train".`,
      'Give a list with such entries, or other modalities.',
    );
  }
  const folder = dirname(file);
  const ids = chosen.map(({ image }) => image);
  return {
    ids,
    async load(n) {
      const { image: path, label, labels, modality, partial } = chosen[n];
      const whole = join(folder, path);
      const one = { id: basename(path), image: whole, images: [whole], label: join(folder, label) };
      const { image, mask } = await read(one, { label: labels });
      const parts = components(mask, image.dims);
      // Specks of a mask are resampling's, not a reader's.
      const sizes = parts.sizes.map((voxels) => (voxels < fewest ? 0 : voxels));
      for (let at = 0; at < parts.labels.length; at++) {
        const own = parts.labels[at];
        if (own > 0 && sizes[own - 1] === 0) parts.labels[at] = 0;
      }
      if (sizes.every((voxels) => voxels === 0)) {
        throw new SgpSamError('no-lesion', `${label} has no connected part of ${fewest} voxels or more.`);
      }
      return { id: ids[n], image, lesions: parts.labels, sizes, modality, partial };
    },
  };
}

/** The entries of a list that training may see; nothing else of it leaves this function. */
async function readList(file: string): Promise<Entry[]> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new SgpSamError('bad-file', `Cannot read ${file}: ${cause.message}.`, undefined, { cause });
  });
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new SgpSamError('bad-file', `${file} is no JSON: ${String(cause)}.`, undefined, { cause });
  }
  if (!Array.isArray(list)) throw new SgpSamError('bad-file', `${file} holds no list of images and masks.`);
  return list.flatMap((raw: unknown, n): Entry[] => {
    if (typeof raw !== 'object' || raw === null)
      throw new SgpSamError('bad-file', `${file}: entry ${n + 1} is no object.`);
    const entry = raw as Readonly<Record<string, unknown>>;
    if (entry.use !== 'train' || entry.kind !== 'lesion') return [];
    const text = (key: string): string => {
      const value = entry[key];
      if (typeof value === 'string' && value !== '') return value;
      throw new SgpSamError(
        'bad-file',
        `${file}: entry ${n + 1} has no ${key}.`,
        `Give "${key}" as a string.`,
      );
    };
    const { value } = entry;
    if (value !== '>0' && !(Number.isInteger(value) && Number(value) > 0)) {
      throw new SgpSamError(
        'bad-file',
        `${file}: entry ${n + 1} has the value ${JSON.stringify(value)}.`,
        'Give "value" as a whole number above 0, or ">0".',
      );
    }
    return [
      {
        image: text('image'),
        label: text('label'),
        labels: value === '>0' ? ABOVE_ZERO : [Number(value)],
        modality: text('modality'),
        partial: entry.partial === true || /unlabelled/i.test(String(entry.what ?? '')),
      },
    ];
  });
}
