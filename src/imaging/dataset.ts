/**
 * Data sets as folders of volumes and labels: the Medical Segmentation Decathlon's dataset.json, nnU-Net's and MONAI's
 * variants of it, and folders that have only names. This file reads texts and names; `dataset.node.ts` reads folders.
 */
import { SgpSamError } from '../base/errors.js';
import { isJsonObject, readJson } from '../base/json.js';

/** A label of a data set. */
export interface DatasetLabel {
  readonly name: string;
  /** The values in the label volumes that mean it: one, or several for a region as nnU-Net has them. */
  readonly values: readonly number[];
}

/** An image and its label volume; paths as the data set gives them, or whole ones once a folder was read. */
export interface DatasetCase {
  readonly id: string;
  /** The image, or its first channel where each channel has a file. */
  readonly image: string;
  /** One file that holds all channels, or a file per channel. */
  readonly images: readonly string[];
  readonly label: string;
}

/** What a dataset.json says. */
export interface DatasetDescription {
  readonly name: string;
  /** Names of the channels by number; empty if it does not say. */
  readonly channels: readonly string[];
  /** Without the background; empty if it does not say. */
  readonly labels: readonly DatasetLabel[];
  /** Cases to train on and, where listed apart (as MONAI does), to validate with. */
  readonly training: readonly DatasetCase[];
  readonly validation: readonly DatasetCase[];
}

/** A path as it is written in these files: without ./, with forward slashes. */
const tidy = (path: string): string =>
  path
    .trim()
    .replaceAll('\\', '/')
    .replace(/^(\.\/+)+/, '');

/** How names of images end; of pairs the header's. */
const IMAGE_ENDING = /\.(nii(\.gz)?|(seg\.)?nrrd|nhdr|mha|mhd|hdr(\.gz)?|dcm)$/i;

/** Whether a name is an image's; a DICOM series is a folder, which has any name. */
export const isImageName = (path: string): boolean => IMAGE_ENDING.test(path);

/** A path without the ending that says its format. */
export const withoutEnding = (path: string): string => path.replace(IMAGE_ENDING, '');

/** `BRATS_001` of `imagesTr/BRATS_001.nii.gz`. */
export function caseName(path: string): string {
  return withoutEnding(tidy(path).replace(/\/+$/, '').replace(/^.*\//, ''));
}

/**
 * Reads the text of a dataset.json, or its bytes.
 * @param source what errors call the file
 * @throws SgpSamError `bad-file` naming the field that cannot be read
 */
export function parseDatasetJson(text: string | Uint8Array, source = 'dataset.json'): DatasetDescription {
  const json = readJson(text, source);
  if (!isJsonObject(json)) throw new SgpSamError('bad-file', `${source} does not hold an object`);
  const cases = (field: string) => readCases(json[field], `${source}: ${field}`);
  const listed = cases('training');
  return {
    name: typeof json.name === 'string' ? json.name : '',
    channels: readChannels(json.channel_names ?? json.modality, source),
    labels: readLabels(json.labels, source),
    training: distinct(listed.length > 0 ? listed : cases('dataset')),
    validation: distinct(cases('validation')),
  };
}

/** `{"0": "FLAIR"}`; some write a list, and some the name of the only one. */
function readChannels(value: unknown, source: string): string[] {
  if (value === undefined || value === null) return [];
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.map(String);
  if (!isJsonObject(value))
    throw new SgpSamError('bad-file', `${source}: modality is neither names nor a name`);
  const out: string[] = [];
  const isNumber = (side: unknown) => /^\d{1,4}$/.test(String(side));
  const entries = Object.entries(value);
  // Some write {"FLAIR": 0}, as nnU-Net writes labels.
  const reversed = entries.every(([key, name]) => !isNumber(key) && isNumber(name));
  for (const [left, right] of entries) {
    const [key, name] = reversed ? [String(right), left] : [left, String(right)];
    if (!isNumber(key)) {
      throw new SgpSamError(
        'bad-file',
        `${source}: modality: neither side of "${left}": ${JSON.stringify(right)} is a channel's number`,
      );
    }
    if (out[Number(key)] !== undefined)
      throw new SgpSamError('bad-file', `${source}: modality: channel ${Number(key)} has two names`);
    out[Number(key)] = name;
  }
  return Array.from(out, (name) => name ?? '');
}

const whole = (value: unknown): number | undefined => {
  const n = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof n === 'number' && Number.isInteger(n) ? n : undefined;
};

const least = ({ values }: DatasetLabel): number => values.reduce((a, b) => Math.min(a, b));

/** `{"1": "edema"}` (Decathlon), `{"edema": 1}` or `{"whole tumor": [1, 2]}` (nnU-Net 2), without the background. */
function readLabels(value: unknown, source: string): DatasetLabel[] {
  if (value === undefined || value === null) return [];
  if (!isJsonObject(value)) {
    throw new SgpSamError(
      'bad-file',
      `${source}: labels is not an object`,
      'Write {"0": "background", "1": …}.',
    );
  }
  const labels = Object.entries(value).map(([key, entry]): DatasetLabel => {
    if (Array.isArray(entry)) {
      const values = entry.map(whole);
      if (values.length > 0 && values.every((v) => v !== undefined)) return { name: key, values };
    } else {
      // Both sides may be numbers ({"1": "1"}); then, as in the Decathlon, the key is the value.
      const byKey = whole(key);
      if (byKey !== undefined) return { name: String(entry), values: [byKey] };
      const byEntry = whole(entry);
      if (byEntry !== undefined) return { name: key, values: [byEntry] };
    }
    throw new SgpSamError(
      'bad-file',
      `${source}: labels: neither side of ${JSON.stringify(key)}: ${JSON.stringify(entry)} is a label's value`,
    );
  });
  return labels
    .filter(({ values }) => !(values.length === 1 && values[0] === 0))
    .sort((a, b) => least(a) - least(b));
}

/** A list of {image, label} or of images, or nnU-Net's object of {images, label} by name. */
function readCases(value: unknown, field: string): DatasetCase[] {
  if (value === undefined || value === null) return [];
  const entries: [string | undefined, unknown][] = Array.isArray(value)
    ? value.map((entry) => [undefined, entry])
    : isJsonObject(value)
      ? Object.entries(value)
      : [];
  if (!Array.isArray(value) && !isJsonObject(value)) {
    throw new SgpSamError('bad-file', `${field} is not a list of cases`);
  }
  return entries.map(([name, entry], n) => {
    const fields: Readonly<Record<string, unknown>> = isJsonObject(entry) ? entry : { image: entry };
    const given = fields.images ?? fields.image;
    const images = (Array.isArray(given) ? given : [given]).map((path) => {
      if (typeof path === 'string' && path.trim() !== '') return tidy(path);
      throw new SgpSamError('bad-file', `${field}[${name ?? n}]: image is not a path`);
    });
    const first = images[0];
    if (first === undefined)
      throw new SgpSamError('bad-file', `${field}[${name ?? n}]: image is an empty list`);
    const { label = first.replace(/(^|\/)images(?=\w*\/)/, '$1labels') } = fields;
    if (typeof label !== 'string' || label.trim() === '' || tidy(label) === first) {
      throw new SgpSamError('bad-file', `${field}[${name ?? n}]: ${first} has no label`);
    }
    return { id: name ?? caseName(label), image: first, images, label: tidy(label) };
  });
}

/** The same cases, named by their whole paths where file names alone (`seg.nii.gz` in many folders) are not enough. */
function distinct(cases: readonly DatasetCase[]): DatasetCase[] {
  const ids = cases.map(({ id }) => id);
  if (new Set(ids).size === ids.length) return [...cases];
  return cases.map((one) => ({ ...one, id: withoutEnding(one.label).replaceAll('/', '_') }));
}

/**
 * The values that a label of this name or number has in the label volumes; several may be given, separated by commas.
 * @throws SgpSamError `bad-argument` for a name that is none of the data set's, listing these
 */
export function labelValues(
  dataset: Pick<DatasetDescription, 'labels' | 'name'>,
  nameOrNumber: string | number,
): readonly number[] {
  const { labels } = dataset;
  const wanted = String(nameOrNumber).trim();
  const simple = (text: string) => text.toLowerCase().replace(/[\s_-]+/g, ' ');
  const named =
    labels.find(({ name }) => name === wanted) ?? labels.find(({ name }) => simple(name) === simple(wanted));
  // Names first: {"2": "1"} would be odd, but then the name is what was read.
  if (typeof nameOrNumber === 'string' && named) return named.values;
  const value = whole(nameOrNumber);
  const known =
    value !== undefined && (labels.length === 0 || labels.some(({ values }) => values.includes(value)));
  if (known && value !== 0) return [value];
  // Last: a name may have a comma of its own.
  const parts = wanted.split(',').filter((part) => part.trim() !== '');
  if (parts.length > 1) {
    const values = parts.flatMap((part) => labelValues(dataset, part));
    return [...new Set(values)].sort((a, b) => a - b);
  }
  const list = labels.map(({ name, values }) => `${values.join('+')} (${name})`).join(', ');
  throw new SgpSamError(
    'bad-argument',
    `${dataset.name || 'The data set'} has no label ${JSON.stringify(nameOrNumber)}`,
    list ? `Its labels are: ${list}.` : 'It does not name its labels: give a value above 0.',
  );
}

/**
 * A channel's number by name or number.
 * @throws SgpSamError `bad-argument` for a name that is none of the data set's, listing these
 */
export function channelNumber(
  { channels, name }: Pick<DatasetDescription, 'channels' | 'name'>,
  nameOrNumber: string | number,
): number {
  const text = String(nameOrNumber).trim().toLowerCase();
  const named = channels.findIndex((channel) => channel.toLowerCase() === text);
  if (typeof nameOrNumber === 'string' && named >= 0) return named;
  const n = whole(nameOrNumber);
  if (n !== undefined && n >= 0 && (channels.length === 0 || n < channels.length)) return n;
  throw new SgpSamError(
    'bad-argument',
    `${name || 'The data set'} has no channel ${JSON.stringify(nameOrNumber)}`,
    channels.length > 0
      ? `Its channels are: ${channels.map((c, i) => `${i} (${c})`).join(', ')}.`
      : undefined,
  );
}

/** Last parts of names that say "this is a label volume". */
const LABEL_WORD =
  /[._-]?((consensus[._-]?)?(ground[._-]?truth|gt)|(manual[._-]?)?(lesions?|labels?|masks?|seg(mentation)?s?|annotations?|rois?|truth))$/i;

/** Whether a file's name says that it is a label volume. */
export function isLabelName(path: string): boolean {
  return LABEL_WORD.test(caseName(path));
}

/** Cases found by names, with what was left over. */
export interface NamedCases {
  readonly cases: readonly DatasetCase[];
  /** What each image's name adds to its case's, in order: the channels' names; empty where names add nothing. */
  readonly channels: readonly string[];
  /** Label volumes without an image. */
  readonly lonely: readonly string[];
}

/**
 * Pairs images with label volumes by their names: the same name, the same with nnU-Net's `_0000` for a channel, or
 * beginnings in common (`patient07_flair` and `patient07_lesions`).
 * @param source what errors call the folder
 * @throws SgpSamError `bad-file` for an image without a label, or cases whose images differ in kind
 */
export function pairByNames(
  images: readonly string[],
  labels: readonly string[],
  source: string,
): NamedCases {
  const keys = labels.map((label) => {
    const base = caseName(label);
    return {
      label,
      base,
      stem: base.replace(LABEL_WORD, ''),
      images: [] as { path: string; kind: string }[],
    };
  });
  const without: string[] = [];
  for (const path of [...images].sort()) {
    const base = caseName(path);
    const begins = (stem: string) =>
      stem !== '' && base.startsWith(stem) && /^([._-]|$)/.test(base.slice(stem.length));
    const key =
      keys.find((k) => k.base === base) ??
      keys.find((k) => base.length === k.base.length + 5 && begins(k.base) && /_\d{4}$/.test(base)) ??
      // Of lesion_1 and lesion_1_2 the longer one is meant.
      keys.filter((k) => begins(k.stem)).sort((a, b) => b.stem.length - a.stem.length)[0];
    if (!key) without.push(path);
    else
      key.images.push({
        path,
        kind: base.slice(base.startsWith(key.base) ? key.base.length : key.stem.length),
      });
  }
  if (without.length > 0) {
    throw new SgpSamError(
      'bad-file',
      `${source}: ${without.length} image(s) have no label file: ${some(without)}`,
      'Give each the name of its image, or begin both alike: case_flair.nii.gz and case_lesions.nii.gz.',
    );
  }
  const full = keys.filter((key) => key.images.length > 0).sort((a, b) => (a.label < b.label ? -1 : 1));
  const kinds = full.map((key) => key.images.map(({ kind }) => kind.replace(/^[._-]/, '')));
  const [first] = kinds;
  const odd = kinds.findIndex((kind) => kind.join() !== first.join());
  if (odd > 0) {
    throw new SgpSamError(
      'bad-file',
      `${source}: ${full[odd].base} has the images ${kinds[odd].join(', ')}, and ${full[0].base} ${first.join(', ')}`,
      'Keep the same images for every case, or list the cases in a dataset.json.',
    );
  }
  const cases = full.map(({ label, base, stem, images: own }): DatasetCase => {
    const paths = own.map(({ path }) => path);
    return { id: own[0].kind === '' ? base : stem || base, image: paths[0], images: paths, label };
  });
  const plain = !first || first.every((kind) => kind === '' || /^\d{4}$/.test(kind));
  return {
    cases: distinct(cases),
    channels: plain ? [] : first,
    lonely: keys.filter((key) => key.images.length === 0).map(({ label }) => label),
  };
}

/** The first few of many names. */
export function some(names: readonly string[]): string {
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}
