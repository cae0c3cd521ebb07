/**
 * Lists of images with lesions, healthy anatomy and shapes: a JSON array of entries that say what an image shows, which values
 * of its label volume are meant, and what it may be used for. Training draws from it, evaluation measures on it.
 */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import { readTextBytes } from '../base/json.node.js';
import { caseName, type DatasetCase, withoutEnding } from './dataset.js';
import type { LabelChoice } from './dataset.node.js';

/** A lesion with its image; healthy anatomy, as image, labels or both; an image alone; a lesion's mask alone. */
const listKinds = ['lesion', 'anatomy', 'template', 'shape'] as const;
export type ListKind = (typeof listKinds)[number];
/** `test` may be measured on and nothing else. */
export const listUses = ['train', 'test'] as const;
export type ListUse = (typeof listUses)[number];

/** One entry; paths are whole. */
export interface ListEntry {
  /** Of the list's entries, from 0; and a name of its own, made of the image's path. */
  readonly index: number;
  readonly id: string;
  readonly kind: ListKind;
  readonly use: ListUse;
  /** Absent for shapes, and for anatomy that is only labels. */
  readonly image: string | undefined;
  /** Absent for templates, and for anatomy without labels. */
  readonly label: string | undefined;
  /** The label's value, or any above 0; absent where nothing is labelled. */
  readonly value: number | '>0' | undefined;
  readonly modality: string;
  readonly organ: string;
  /** What the image shows, such as FLAIR; or the number of the 3-D image that is meant, from 0. */
  readonly channel: string | number | undefined;
  /** Entries of one subject belong on one side of a split. */
  readonly subject: string | undefined;
  readonly licence: string | undefined;
}

/** A lesion with everything that it takes to read it. */
export interface LesionEntry extends ListEntry {
  readonly kind: 'lesion';
  readonly image: string;
  readonly label: string;
  readonly value: number | '>0';
}

/** Whether an entry is a lesion; `readLesionList` has checked that it is complete then. */
export const isLesion = (entry: ListEntry): entry is LesionEntry => entry.kind === 'lesion';

/** An entry as a case of a data set, and how to read it with `readCase`. */
export function listCase(entry: LesionEntry): {
  readonly one: DatasetCase;
  readonly label: LabelChoice;
  readonly channel: number | undefined;
} {
  const { id, image, label, value, channel } = entry;
  return {
    one: { id, image, images: [image], label },
    label: value === '>0' ? value : [value],
    channel: typeof channel === 'number' ? channel : undefined,
  };
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads a list's text and checks every entry.
 * @param path names the file in errors; the entries' paths are relative to its folder
 * @throws SgpSamError `bad-file` naming entry and field
 */
export function parseLesionList(text: string | Uint8Array, path: string): ListEntry[] {
  const json = readJson(text, path);
  if (!Array.isArray(json))
    throw new SgpSamError(
      'bad-file',
      `${path} is no list of entries`,
      'Write [{"image": …, "label": …}, …].',
    );
  const read = json.map((entry: unknown, index) => parseEntry(entry, index, path));
  // Several lesions of one image are told apart by what they are in which label volume.
  const entries = read.map((entry) => {
    const { id, label, value } = entry;
    if (read.every((other) => other === entry || other.id !== id)) return entry;
    return {
      ...entry,
      id: [id, label && caseName(label), value === '>0' ? 'all' : value].filter(Boolean).join('_'),
    };
  });
  const seen = new Map<string, number>();
  for (const { id, index } of entries) {
    const other = seen.get(id);
    if (other !== undefined)
      throw new SgpSamError(
        'bad-file',
        `${path}: entries ${other} and ${index} are the same: ${id}`,
        'Take one of them out.',
      );
    seen.set(id, index);
  }
  return entries;
}

function parseEntry(entry: unknown, index: number, path: string): ListEntry {
  const fail = (what: string, mend?: string) =>
    new SgpSamError('bad-file', `${path}: entry ${index}: ${what}`, mend);
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) throw fail('this is no object');
  const fields = entry as Fields;
  const has = (name: string) => JSON.stringify(fields[name]) ?? 'not there';
  const text = (name: string): string | undefined => {
    const value = fields[name] ?? undefined;
    if (value === undefined || (typeof value === 'string' && value.trim() !== ''))
      return value as string | undefined;
    throw fail(`'${name}' is ${has(name)}`, 'Write a text, or leave it out.');
  };
  const required = (name: string): string => {
    const value = text(name);
    if (value !== undefined) return value;
    throw fail(
      `'${name}' is not there`,
      `Every entry${name === 'image' || name === 'label' ? ' of this kind' : ''} has one.`,
    );
  };
  const oneOf = <T extends string>(name: string, all: readonly T[]): T => {
    const found = all.find((one) => one === fields[name]);
    if (found !== undefined) return found;
    throw fail(`'${name}' is ${has(name)}`, `Write one of: ${all.join(', ')}.`);
  };
  const kind = oneOf('kind', listKinds);
  const value = fields.value ?? undefined;
  const known = value === '>0' || (Number.isInteger(value) && (value as number) > 0);
  if (kind === 'lesion' ? !known : !known && value !== undefined)
    throw fail(`'value' is ${has('value')}`, 'Write a whole number from 1, or ">0".');
  const { channel } = fields;
  const number = Number.isInteger(channel) && (channel as number) >= 0;
  const needsImage = kind === 'lesion' || kind === 'template';
  const needsLabel = kind === 'lesion' || kind === 'shape' || (kind === 'anatomy' && !fields.image);
  const image = needsImage ? required('image') : text('image');
  const label = needsLabel ? required('label') : text('label');
  const folder = dirname(path);
  const whole = (file: string | undefined) => (file === undefined ? undefined : resolve(folder, file));
  const named = (file: string) =>
    withoutEnding(file)
      .replace(/^[./\\]+/, '')
      .replace(/[/\\]+/g, '_');
  const parts = [image, image === undefined ? label : undefined]
    .filter((file) => file !== undefined)
    .map(named);
  return {
    index,
    id: [...parts, ...(typeof channel === 'number' ? [channel] : [])].join('_'),
    kind,
    use: oneOf('use', listUses),
    image: whole(image),
    label: whole(label),
    value: value as number | '>0' | undefined,
    modality: required('modality'),
    organ: required('organ'),
    channel: number ? (channel as number) : text('channel'),
    subject: text('subject'),
    licence: text('licence'),
  };
}

/**
 * Reads a list, checks all of it, and keeps what is asked for.
 * @param keep which entries; all if not given. Only their files are looked for.
 * @throws SgpSamError `bad-file` naming entry and field, a file that is not there, or that nothing is kept
 */
export async function readLesionList<T extends ListEntry = ListEntry>(
  path: string,
  keep: ((entry: ListEntry) => entry is T) | ((entry: ListEntry) => boolean) = () => true,
): Promise<T[]> {
  const all = parseLesionList(readTextBytes(path), path);
  const kept = all.filter((entry): entry is T => keep(entry));
  for (const entry of kept) {
    for (const field of ['image', 'label'] as const) {
      const file = entry[field];
      if (file === undefined || existsSync(file)) continue;
      throw new SgpSamError(
        'bad-file',
        `${path}: entry ${entry.index}: '${field}' is ${file}, which is not there`,
        'Put the file there, or take the entry off the list. Paths are relative to the list’s folder.',
      );
    }
  }
  if (kept.length > 0) return kept;
  const kinds = [
    ...new Set(all.map(({ kind, use, modality, organ }) => `${kind} ${use} ${modality} ${organ}`)),
  ];
  throw new SgpSamError(
    'bad-file',
    `${path} has no entry of what is asked for`,
    `It has (kind, use, modality, organ): ${kinds.join('; ') || 'nothing'}.`,
  );
}
