/** What `sgp-sam train` learns from: a folder, phantoms, or several sources in proportions. */
import { freemem } from 'node:os';
import { basename, resolve } from 'node:path';
import { mixSeed } from '../base/draws.js';
import { SgpSamError } from '../base/errors.js';
import { channelNumber } from '../imaging/dataset.js';
import { labelValuesIn } from '../imaging/dataset.node.js';
import { readPairsOrFolder } from '../imaging/pairs.node.js';
import { checkTrainingPhantom, PHANTOM_VERSION } from '../phantoms/training-phantom.js';
import { type AnatomySource, anatomyCases, anatomySources } from '../training/anatomy-cases.node.js';
import { type CaseSource, cached, type MixedPart, mixedCases, phantomCases } from '../training/cases.js';
import { checkCases, folderCases, listCases } from '../training/cases.node.js';
import type { JsonObject } from '../training/checkpoint.js';
import type { ProgressBars } from './progress.js';
import { phantomShapeOf, type TrainOptions } from './train-options.js';

/** What is trained on and validated with. */
export interface Data {
  readonly training: CaseSource;
  readonly validation: CaseSource | undefined;
  /** What the result depends on, for the checkpoint and the log. */
  readonly description: JsonObject;
}

/** What cases kept in memory may take: making or reading one anew costs as much as a step on a CPU adapter. */
const cacheBytes = (): number => Math.max(2 ** 29, freemem() / 4);

function phantomData(options: TrainOptions): Data {
  const shape = phantomShapeOf(options);
  const { phantoms: count = 0, valPhantoms: valCount } = options;
  const { size, spacing } = shape;
  checkTrainingPhantom({ ...shape, size: [size, size, size], spacing: [spacing, spacing, spacing] });
  return {
    training: cached(phantomCases({ ...shape, count }, 'train'), cacheBytes()),
    validation: valCount > 0 ? cached(phantomCases({ ...shape, count: valCount }, 'validation')) : undefined,
    description: {
      phantoms: { version: PHANTOM_VERSION, count, validation: valCount, ...shape } as unknown as JsonObject,
    },
  };
}

function sourceData(
  name: string,
  cube: number,
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Data | Promise<Data> {
  if (name === 'phantoms') return phantomData(options);
  const made = anatomySources.find((kind) => name.startsWith(`${kind}:`));
  if (made) return anatomyData(made, name.slice(made.length + 1), cube, options);
  return name.endsWith('.json')
    ? listData(name, options, bars, signal)
    : folderData(name, options, bars, signal);
}

/** Patches are made anew for every cube: as many as a long run can want, and a few others to validate with. */
const PATCHES = 200_000;
const VALIDATION_PATCHES = 12;

function anatomyData(kind: AnatomySource, folder: string, cube: number, options: TrainOptions): Data {
  const seed = options.phantomSeed;
  const of = (count: number, part: number) =>
    anatomyCases(kind, { folder, count, seed: mixSeed(seed, part), cube });
  return {
    training: of(PATCHES, 1),
    validation: cached(of(VALIDATION_PATCHES, 2)),
    description: { patches: kind, seed },
  };
}

async function mixedData(
  cube: number,
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Data> {
  const parts: MixedPart[] = [];
  const validations: MixedPart[] = [];
  const descriptions: JsonObject[] = [];
  for (const { name, share } of options.data) {
    const { training, validation, description } = await sourceData(name, cube, options, bars, signal);
    parts.push({ source: training, share });
    if (validation) validations.push({ source: validation, share });
    // Without the paths: they are nobody's business who gets the weights.
    descriptions.push({ share, ...description });
  }
  return {
    training: mixedCases(parts),
    validation: validations.length > 0 ? mixedCases(validations) : undefined,
    description: { sources: descriptions },
  };
}

/** A source whose cases were all read once; those that were left out are added to `skipped`. */
const checked = (
  source: CaseSource,
  skipped: string[],
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<CaseSource> =>
  checkCases(cached(source, cacheBytes()), {
    skip: options.skipBadCases,
    skipWithoutLesion: options.skipCasesWithoutLesion,
    warn: (id, error) => {
      skipped.push(id);
      process.stderr.write(`skipped case ${id}: ${error.message}\n`);
    },
    progress: bars.report,
    signal,
  });

async function listData(
  file: string,
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Data> {
  const listed = await listCases(file);
  const skipped: string[] = [];
  const all = await checked(listed, skipped, options, bars, signal);
  // By subject: another image of one who was trained on validates nothing.
  const subjectOf = new Map(listed.ids.map((id, n) => [id, listed.subjects[n]]));
  const subjects = split([...new Set(all.ids.map((id) => subjectOf.get(id)))], options);
  const [training, validation] = [subjects.training, subjects.validation].map((own) =>
    all.ids.filter((id) => own.includes(subjectOf.get(id))),
  );
  const of = (ids: readonly string[]): CaseSource => {
    const numbers = ids.map((id) => all.ids.indexOf(id));
    return { ids, load: (n) => all.load(numbers[n]) };
  };
  return {
    training: of(training),
    validation: validation.length > 0 ? of(validation) : undefined,
    description: { list: basename(file), training: [...training], validation: [...validation], skipped },
  };
}

/** Every so many-th case validates: spread evenly, and the same ones whatever the seed, so that runs can be compared. */
function split<T>(all: readonly T[], options: TrainOptions): { training: T[]; validation: T[] } {
  const { valFraction: fraction } = options;
  const upTo = (n: number) => Math.floor(n * fraction + 1e-9);
  // Of few cases the last one at least, where any are wanted.
  const few = fraction > 0 && upTo(all.length) === 0 && all.length > 1;
  const validates = (n: number) => (few ? n + 1 === all.length : upTo(n + 1) > upTo(n));
  return {
    training: all.filter((_, n) => !validates(n)),
    validation: all.filter((_, n) => validates(n)),
  };
}

async function folderData(
  folder: string,
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Data> {
  const dataset = await readPairsOrFolder(folder);
  const label = await labelValuesIn(dataset, options.label, (line) => process.stderr.write(`${line}\n`));
  const channel = options.channel === undefined ? undefined : channelNumber(dataset, options.channel);
  const { target } = options;
  const { training, validation } = dataset.validation.length > 0 ? dataset : split(dataset.training, options);
  const skipped: string[] = [];
  const check = async (cases: typeof training) =>
    cases.length === 0
      ? undefined
      : checked(folderCases(cases, { channel, label, target }), skipped, options, bars, signal);
  const good = await check(training);
  if (!good) throw new SgpSamError('bad-file', `${folder}: there is no case to train on`);
  const valid = await check(validation);
  return {
    training: good,
    validation: valid,
    description: {
      dataset: dataset.name || basename(resolve(folder)),
      label: [...label],
      channel: channel ?? null,
      target,
      training: [...good.ids],
      validation: [...(valid?.ids ?? [])],
      skipped,
    },
  };
}

/**
 * The data that the options name.
 * @param cube voxels along the edge of the model's volume: how fine patches are made
 * @throws SgpSamError `bad-argument` for patience with nothing to validate with; as the cases' sources
 */
export async function trainingData(
  folder: string | undefined,
  cube: number,
  options: TrainOptions,
  bars: ProgressBars,
  signal: AbortSignal,
): Promise<Data> {
  const data = await (options.data.length > 0
    ? mixedData(cube, options, bars, signal)
    : folder === undefined
      ? phantomData(options)
      : folderData(folder, options, bars, signal));
  if (data.validation) return data;
  if (options.patience > 0) {
    throw new SgpSamError(
      'bad-argument',
      `--patience ${options.patience}: there is no case to validate with`,
      'Use a --val-fraction above 0 and two cases at least (or --val-phantoms), or leave --patience out.',
    );
  }
  process.stderr.write('no case to validate with: the weights will be those of the last update\n');
  return data;
}
