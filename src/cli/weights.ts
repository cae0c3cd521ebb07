/** Which weights a command runs: files, deltas over them, formulas, and those that ship with the package. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SgpSamError } from '../base/errors.js';
import { formulaWeights } from '../sam/formula-weights.js';
import { openWeightFile } from '../weights/file.node.js';
import { isFormula, openAnyWeights } from '../weights/open.js';
import type { WeightSource } from '../weights/weight-source.js';
import { tellOfWeights } from './common.js';
import { asIs, formerly, option } from './options.js';

/** The weights that ship, in the package's folder `weights`. */
export const SHIPPED = 'sgp-small.safetensors';

/** `--delta-weights` of every command that runs chosen weights. */
export const deltaOption = formerly(
  'adapterWeights',
  option('<file>', 'what train --export delta wrote, laid over the weights', asIs),
);

export interface WeightChoice {
  /** A file, or formula:CONFIG[:seed]; the shipped weights if not given. */
  readonly weights?: string | undefined;
  /** What `train --export delta` wrote, to lay over the weights. */
  readonly deltaWeights?: string | undefined;
}

/** Where the shipped weights are; undefined in a copy that lacks them. */
export function shippedWeights(): string | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, 'weights', SHIPPED);
    if (existsSync(file)) return file;
    const above = dirname(folder);
    if (above === folder) return undefined;
    folder = above;
  }
}

/** The files that a choice of weights reads. */
export const weightFiles = ({ weights, deltaWeights }: WeightChoice): string[] =>
  [weights ?? shippedWeights(), deltaWeights].filter(
    (file) => file !== undefined && !isFormula(file),
  ) as string[];

/** The name by which messages and reports call the weights. */
export function weightsName({ weights, deltaWeights }: WeightChoice): string {
  const base = weights ?? `the shipped ${SHIPPED}`;
  return deltaWeights === undefined ? base : `${basename(deltaWeights)} over ${base}`;
}

/**
 * The chosen weights, as `openAnyWeights` takes them.
 * @throws SgpSamError `bad-argument` for a delta over a formula; `bad-file` where the shipped weights are missing
 */
export function weightsOf({ weights = shippedWeights(), deltaWeights }: WeightChoice): string {
  if (weights === undefined) {
    throw new SgpSamError(
      'bad-file',
      `weights/${SHIPPED}, the weights that ship with this package, is not there`,
      'Install the package anew, or give --weights.',
    );
  }
  if (deltaWeights === undefined || !isFormula(weights)) return weights;
  throw new SgpSamError(
    'bad-argument',
    `${deltaWeights} cannot be laid over ${weights}`,
    'Give the weights that it was trained over.',
  );
}

/**
 * Opens the chosen weights, and says on stderr what is to be said of them.
 * @throws as `weightsOf` and `openAnyWeights`
 */
export async function openChosenWeights(choice: WeightChoice): Promise<WeightSource> {
  const source = await openAnyWeights(
    { weights: weightsOf(choice), deltaWeights: choice.deltaWeights },
    { formula: (text) => formulaWeights(text).source, named: (file) => openWeightFile(String(file)) },
  );
  tellOfWeights(source);
  return source;
}
