/** Which weights a command runs: files, deltas over them, formulas, and those that ship with the package. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SgpSamError } from '../base/errors.js';
import type { ModelConfig } from '../sam/config.js';
import { formulaWeights } from '../sam/model.js';
import { openWeightFile } from '../weights/file.node.js';
import { overlayWeights } from '../weights/overlay.js';
import type { WeightSource } from '../weights/weight-source.js';
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

/** Weights that are open, and what is known of them. */
export interface ChosenWeights {
  readonly source: WeightSource;
  readonly config?: ModelConfig | undefined;
  /** Whether anything in them was. */
  readonly trained: boolean;
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
    (file) => file !== undefined && !file.startsWith('formula:'),
  ) as string[];

/** The name by which messages and reports call the weights. */
export function weightsName({ weights, deltaWeights }: WeightChoice): string {
  const base = weights ?? `the shipped ${SHIPPED}`;
  return deltaWeights === undefined ? base : `${basename(deltaWeights)} over ${base}`;
}

/**
 * Opens the chosen weights.
 * @throws SgpSamError `bad-argument` for an impossible formula, or a delta over one; `bad-weights`, `bad-file`
 */
export async function openChosenWeights({ weights, deltaWeights }: WeightChoice): Promise<ChosenWeights> {
  if (weights?.startsWith('formula:')) {
    if (deltaWeights === undefined) return { ...formulaWeights(weights), trained: false };
    throw new SgpSamError(
      'bad-argument',
      `${deltaWeights} cannot be laid over ${weights}`,
      'Give the weights that it was trained over.',
    );
  }
  const file = weights ?? shippedWeights();
  if (file === undefined) {
    throw new SgpSamError(
      'bad-file',
      `weights/${SHIPPED}, the weights that ship with this package, is not there`,
      'Install the package anew, or give --weights.',
    );
  }
  const base = await openWeightFile(file);
  if (deltaWeights === undefined) return { source: base, trained: true };
  let delta: WeightSource | undefined;
  try {
    delta = await openWeightFile(deltaWeights);
    const source = overlayWeights(base, delta);
    return { source, trained: true };
  } catch (error) {
    await delta?.close();
    await base.close();
    throw error;
  }
}
