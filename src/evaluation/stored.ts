/** What evaluations keep in files, checked field by field before anything is made of it. */
import { SgpSamError } from '../base/errors.js';
import { isJsonObject, type JsonObject, withoutDigest } from '../base/json.js';
import {
  all,
  count,
  fields,
  flag,
  fromZero,
  listOf,
  number,
  object,
  oneOf,
  optional,
  orNull,
  type Shape,
  share,
  text,
  valueWhere,
} from '../base/shape.js';
import { MOST_CLICKS, targets } from './case.js';

const surfaceScores = fields({
  nsd: orNull(share),
  hd95: orNull(fromZero),
  hd: orNull(fromZero),
  assd: orNull(fromZero),
});

const maskFields = {
  dice: share,
  iou: share,
  sensitivity: orNull(share),
  precision: orNull(share),
  millilitres: fromZero,
  volumeError: number,
  relativeVolumeError: orNull(number),
  surfel: surfaceScores,
  voxel: surfaceScores,
};

const detectionFields = {
  truePositives: count,
  falsePositives: count,
  falseNegatives: count,
  precision: orNull(share),
  recall: orNull(share),
  f1: orNull(share),
};

const unionScores = fields({
  ...maskFields,
  detection: fields({
    brats: fields({ ...detectionFields, lesionDice: share }),
    panoptica: fields({
      ...detectionFields,
      sq: orNull(share),
      pq: orNull(share),
      sqDice: orNull(share),
    }),
  }),
});

const wholeFromOne = valueWhere(
  'a whole number from 1',
  (value) => Number.isSafeInteger(value) && (value as number) >= 1,
);
const clicks = valueWhere(
  `a number of clicks, 1 to ${MOST_CLICKS}`,
  (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MOST_CLICKS,
);

/** A list of as many items as there are clicks. */
const perClick =
  (shape: Shape, least: number): Shape =>
  (value, path) =>
    listOf(shape)(value, path) ??
    ((value as unknown[]).length === least
      ? undefined
      : `'${path}' has ${(value as unknown[]).length} items for ${least} clicks`);

const lesionShape = (n: number): Shape =>
  fields({
    lesion: wholeFromOne,
    millilitres: fromZero,
    dice: perClick(share, n),
    iou: optional(perClick(share, n)),
    predictedMillilitres: optional(perClick(fromZero, n)),
    iouEstimate: optional(perClick(number, n)),
    probability: optional(perClick(share, n)),
    flood: optional(fields({ dice: share, iou: share, millilitres: fromZero })),
    encodes: optional(count),
    warnings: optional(listOf(text)),
    clicks: optional(listOf(fields({ voxel: listOf(number, 3), label: oneOf(0, 1) }))),
    open: listOf(share),
    covered: share,
    diceAuc: share,
    noc80: orNull(wholeFromOne),
    noc85: orNull(wholeFromOne),
    noc90: orNull(wholeFromOne),
    first: fields(maskFields),
    last: fields(maskFields),
  });

const caseShape = (n: number): Shape =>
  fields({
    id: text,
    diagonal: optional(fromZero),
    lesions: listOf(lesionShape(n)),
    leftOut: optional(count),
    about: optional(fields({ modality: text, organ: text, channel: text, subject: text })),
    background: optional(
      listOf(
        fields({
          voxel: listOf(number, 3),
          body: flag,
          millilitres: orNull(fromZero),
          iouEstimate: orNull(number),
          told: listOf(text),
        }),
      ),
    ),
    meanDice: perClick(share, n),
    unionDice: perClick(share, n),
    first: unionScores,
    last: unionScores,
  });

const failedShape = fields({ id: text, code: text, message: text });

/** A case's outcome: exactly one of result, failure, no lesion. */
const outcomeShape =
  (n: number): Shape =>
  (value, path) => {
    const wrong = fields({ id: text })(value, path);
    if (wrong !== undefined) return wrong;
    const kinds: Readonly<Record<string, Shape>> = {
      result: caseShape(n),
      withoutLesion: oneOf(true),
      failed: failedShape,
    };
    const own = Object.keys(kinds).filter((kind) => Object.hasOwn(value as object, kind));
    if (own.length !== 1)
      return `'${path}' has ${own.length === 0 ? 'none' : 'several'} of ${Object.keys(kinds).join(', ')}`;
    return fields({ [own[0]]: kinds[own[0]] })(value, path);
  };

const settingsFields = {
  version: text,
  dataset: text,
  label: listOf(number),
  target: oneOf(...targets),
  clicks,
  first: text,
  correction: text,
  tolerance: fromZero,
  weights: text,
};

const shardShape: Shape = orNull(
  all(fields({ index: wholeFromOne, of: wholeFromOne }), (value, path) => {
    const { index, of } = value as { index: number; of: number };
    return index <= of ? undefined : `'${path}.index' is ${index}, of ${of}`;
  }),
);

const different: Shape = (value, path) => {
  const seen = new Set<unknown>();
  for (const [n, item] of (value as unknown[]).entries()) {
    if (seen.has(item)) return `'${path}[${n}]' is ${JSON.stringify(item)}, which is there already`;
    seen.add(item);
  }
  return undefined;
};

const descriptionShape = fields({
  settings: fields({
    ...settingsFields,
    channel: orNull(count),
    task: orNull(text),
    seed: number,
    preset: object,
    weightsSha256: text,
    config: object,
    adapter: text,
    variants: listOf(text),
  }),
  cases: all(listOf(text), different),
  shard: shardShape,
});

function check(shape: Shape, value: unknown, name: string, mend: string): void {
  const wrong = shape(value, '');
  if (wrong !== undefined) throw new SgpSamError('bad-file', `${name}: ${wrong}`, mend);
}

/**
 * A file of an evaluation's folder, parsed: run.json or a case's.
 * @param key what it is: `run`, or for a case how many clicks there are
 * @param mend what to do about one that is damaged
 * @throws SgpSamError `bad-file` naming the file and the field, or saying that it was edited
 */
export function checkStored(
  value: unknown,
  name: string,
  key: 'run' | { readonly clicks: number; readonly id: string },
  mend: string,
): JsonObject {
  if (!isJsonObject(value)) throw new SgpSamError('bad-file', `${name}: is not an object`, mend);
  const own = withoutDigest(value, name, { required: true, mend });
  if (key === 'run') check(descriptionShape, own, name, mend);
  else
    check(
      fields({
        key: text,
        outcome: all(outcomeShape(key.clicks), fields({ id: oneOf(key.id) }), (outcome, path) =>
          isJsonObject((outcome as JsonObject).result)
            ? fields({ result: fields({ id: oneOf(key.id) }) })(outcome, path)
            : undefined,
        ),
      }),
      own,
      name,
      mend,
    );
  return own;
}

/**
 * A results file, parsed, without its digest. Files of older versions have none, and lack some fields.
 * @throws SgpSamError `bad-file` naming the file and the field, or saying that it was edited
 */
export function checkResults(value: unknown, name: string): JsonObject {
  const mend = 'Give results that eval wrote (--run or -o).';
  if (!isJsonObject(value)) throw new SgpSamError('bad-file', `${name}: is not an object`, mend);
  const own = withoutDigest(value, name, { required: false, mend });
  check(fields(settingsFields), own, name, mend);
  check(fields({ cases: all(listOf(caseShape(own.clicks as number)), differentIds) }), own, name, mend);
  return own;
}

const differentIds: Shape = (value, path) =>
  different(
    (value as JsonObject[]).map(({ id }) => id),
    path,
  );
