/** What `sgp-sam eval` measures on: folders, lists of pairs, lists of lesions, single images. */
import { basename } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import type { JsonObject } from '../base/json.js';
import { readText } from '../base/json.node.js';
import { channelNumber, type DatasetCase } from '../imaging/dataset.js';
import { type Dataset, labelValuesIn } from '../imaging/dataset.node.js';
import {
  isLesion,
  type LesionEntry,
  type ListEntry,
  listCase,
  listUses,
  readLesionList,
} from '../imaging/lesion-list.node.js';
import { pairOfFiles, readPairsOrFolder } from '../imaging/pairs.node.js';
import { checkTaskLabels, type Task } from '../imaging/tasks.js';
import type { AskedCase, Evaluation } from './eval-run.js';
import { asIs, oneOf, option, type Values } from './options.js';

/** The options that say what of the data is lesion, and which of a list. */
export const dataTable = {
  label: option(
    '<name>',
    'the lesions’ label in dataset.json, or its value; several separated by commas',
    asIs,
    '1',
  ),
  channel: option(
    '<name>',
    'the image’s channel, by name or number, if it has several; of a list.json only entries of it',
    asIs,
  ),
  use: option('<which>', 'of a list.json only entries for train or test', oneOf(listUses)),
  modality: option('<names>', 'and of these modalities, separated by commas', asIs),
  organ: option('<names>', 'and in these organs', asIs),
};
type DataOptions = Values<typeof dataTable> & { readonly cases?: string | undefined };

/** The data's part of an evaluation. */
export type AskedData = Pick<Evaluation, 'dataset' | 'cases' | 'label' | 'channel' | 'entries'>;

/** Those whose names contain one of the comma-separated parts. */
function chosen<T>(
  all: readonly T[],
  idOf: (one: T) => string,
  parts: string | undefined,
  source: string,
): readonly T[] {
  if (parts === undefined) return all;
  const wanted = parts.split(',').map((part) => part.trim());
  const found = all.filter((one) => wanted.some((part) => part !== '' && idOf(one).includes(part)));
  if (found.length > 0) return found;
  const names = all.map(idOf).join(', ');
  throw new SgpSamError('bad-argument', `--cases ${parts}: ${source} has none of these`, `It has: ${names}.`);
}

/** Whether a file is a list of lesions: a dataset.json is an object. */
export function isLesionList(data: string): boolean {
  if (!/\.json$/i.test(data)) return false;
  try {
    return readText(data).trimStart().startsWith('[');
  } catch {
    return false; // said by whoever reads it next
  }
}

/** The lesions of a list that are of these uses, modalities, organs and channels; several are separated by commas. */
export async function listData(path: string, options: DataOptions): Promise<AskedData> {
  const { use, modality, organ, channel, cases } = options;
  const asked = { use, modality, organ, channel };
  const fits = (entry: ListEntry) =>
    (Object.keys(asked) as (keyof typeof asked)[]).every((field) => {
      const wanted = asked[field]?.split(',').map((one) => one.trim().toLowerCase());
      return wanted === undefined || wanted.includes(String(entry[field] ?? '').toLowerCase());
    });
  const entries = await readLesionList(path, (entry): entry is LesionEntry => isLesion(entry) && fits(entry));
  return {
    dataset: basename(path),
    cases: chosen(entries, ({ id }) => id, cases, path).map((entry): AskedCase => {
      const { modality: own, organ: where, channel: shows = '', subject = '' } = entry;
      return { ...listCase(entry), about: { modality: own, organ: where, channel: String(shows), subject } };
    }),
    label: [],
    channel: undefined,
    entries: Object.fromEntries(Object.entries(asked).filter(([, text]) => text !== undefined)) as JsonObject,
  };
}

const readData = (data: string, label: string | undefined): Promise<Dataset> | Dataset => {
  if (label !== undefined) return pairOfFiles(data, label);
  return readPairsOrFolder(data);
};

/** The cases of a folder, a list of pairs, or an image with its label volume. */
export async function datasetData(
  data: string,
  labelFile: string | undefined,
  options: DataOptions,
  task: Task | undefined,
): Promise<AskedData> {
  for (const option of ['use', 'modality', 'organ'] as const) {
    if (options[option] === undefined) continue;
    throw new SgpSamError(
      'bad-argument',
      `--${option} chooses among a list's lesions, and ${data} is no such list`,
      'Leave it out, or give a list.json.',
    );
  }
  const dataset = await readData(data, labelFile);
  if (task) checkTaskLabels(task, dataset);
  const all: readonly DatasetCase[] = [...dataset.training, ...dataset.validation];
  const cases = chosen(all, ({ id }) => id, options.cases, data);
  const twice = cases.find(({ id }, n) => cases.findIndex((other) => other.id === id) < n);
  if (twice)
    throw new SgpSamError(
      'bad-file',
      `${data} lists case ${twice.id} twice`,
      'Take it off one of its lists.',
    );
  const label = await labelValuesIn(dataset, options.label, (line) => process.stderr.write(`${line}\n`));
  const channel = options.channel === undefined ? undefined : channelNumber(dataset, options.channel);
  return {
    dataset: dataset.name,
    cases: cases.map((one) => ({ one, label, channel })),
    label,
    channel,
  };
}
