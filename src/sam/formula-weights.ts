/** Weights that are computed from their names: for tests, and for measuring. */
import { SgpSamError } from '../base/errors.js';
import { formulaSource } from '../weights/formula.js';
import type { WeightSource } from '../weights/weight-source.js';
import { configByName, type ModelConfig } from './config.js';
import { siteMetadata } from './infer.js';
import { modelParameters } from './parameters.js';

/**
 * The weights `formula:CONFIG[:seed]`: every value computed from its name (SPEC C), nothing trained.
 * @throws SgpSamError `bad-argument` for an unknown configuration or seed
 */
export function formulaWeights(text: string): { source: WeightSource; config: ModelConfig } {
  const [, name = '', seedText = '0', ...rest] = text.split(':');
  const seed = Number(seedText);
  if (rest.length > 0 || !Number.isInteger(seed) || seed < 0 || seedText === '') {
    throw new SgpSamError(
      'bad-argument',
      `'${text}' is not formula:CONFIG[:seed]`,
      'For instance: formula:sgp-tiny:0',
    );
  }
  const config = configByName(name);
  const shapes = new Map(modelParameters(config).map((spec) => [spec.name, spec.shape]));
  return { source: formulaSource(shapes, seed, siteMetadata(config)), config };
}
