/** What training begins from: base weights, with first values for what they lack. */

import { needFields, needOneOf } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import { checkConfig, defaultSgpm, gateKindOf, type ModelConfig, type SgpmConfig } from '../sam/config.js';
import { inferConfig } from '../sam/infer.js';
import { modelParameters } from '../sam/parameters.js';
import { checkTensors, saneReader } from '../weights/check.js';
import { untrainedOf } from '../weights/untrained.js';
import type { WeightSource } from '../weights/weight-source.js';
import { initialSource } from './initial.js';
import { type Arm, arms, configOfArm } from './recipe.js';

/** What a training begins from. */
export interface BaseWeights {
  readonly config: ModelConfig;
  /** Values in PyTorch's layout. */
  readonly read: (name: string) => Promise<Float32Array>;
  /** What they are, for people. */
  readonly description: string;
  /** Names of parameters that no training has touched: first values. */
  readonly untrained: readonly string[];
  /** Those of them that no file holds. */
  readonly added: readonly string[];
}

/** What weights that come of this training must know of what it began from. */
export type Origin = Pick<BaseWeights, 'untrained' | 'added'>;

/** What of the modules is other than in the configuration or weights that a training begins from. */
export type ModuleSettings = Partial<SgpmConfig>;

/**
 * First values for a whole configuration: training from nothing.
 * @throws SgpSamError `bad-argument` for a configuration that makes no model, or has no modules for an arm that wants them
 */
export function initialBase(
  arm: Arm,
  config: ModelConfig,
  seed: number,
  modules: ModuleSettings = {},
): BaseWeights {
  checkConfig(config);
  const own = configOfArm(arm, config.sgpm ? { ...config, sgpm: { ...config.sgpm, ...modules } } : config);
  checkConfig(own);
  const source = initialSource(own, seed);
  const added = [...source.tensors.keys()];
  const read = (name: string) => source.readF32(name);
  return { config: own, read, description: source.name, untrained: added, added };
}

/**
 * A checkpoint, as the arm wants it: SGPMs that it lacks are added at SPEC's defaults (they change nothing at first),
 * SGPMs that the arm has no use for are left out.
 * @param modules settings of theirs: gates of another kind than the checkpoint's begin anew, and so do modules at other places or of
 *   other sizes as a whole
 * @throws SgpSamError `bad-weights` when it is no SAM-Med3D or SGP-SAM checkpoint
 */
export function checkpointBase(
  arm: Arm,
  source: WeightSource,
  seed: number,
  modules: ModuleSettings = {},
): BaseWeights {
  needOneOf('arm', arm, Object.keys(arms));
  needFields('checkpointBase: source', source, 'tensors', 'metadata');
  const found = inferConfig(source.tensors, source.metadata, source.name);
  const needs = arms[arm].sgpm && !found.sgpm;
  if (needs && found.global.length === 0) {
    throw new SgpSamError(
      'bad-weights',
      `${source.name}: has no SGPMs, and no global blocks to put them after`,
      'Give weights with SGPMs, or choose an arm without.',
    );
  }
  const wanted = arms[arm].sgpm ? { ...(found.sgpm ?? defaultSgpm(found)), ...modules } : found.sgpm;
  const config = configOfArm(arm, wanted ? { ...found, sgpm: wanted } : found);
  checkConfig(config);
  const specs = modelParameters(config);
  const isFresh = freshOf(found, config);
  const given = specs.filter(({ name }) => !isFresh(name));
  const used = new Set(given.map(({ name }) => name));
  checkTensors(source, new Map(given.map(({ name, shape }) => [name, shape])), {
    allowLeftOver: (name) => name.startsWith('sgpm.') && !used.has(name),
  });
  const added = initialSource(config, seed);
  const readGiven = saneReader(source);
  const read = (name: string) => (isFresh(name) ? added.readF32(name) : readGiven(name));
  const fresh = specs.map(({ name }) => name).filter(isFresh);
  const untrained = [...untrainedOf(source.metadata), ...fresh];
  return { config, read, description: source.name, untrained, added: fresh };
}

/** Which parameters of the one configuration the weights of the other have no values for. */
function freshOf(found: ModelConfig, config: ModelConfig): (name: string) => boolean {
  const sizes = ({ sgpm }: ModelConfig) => sgpm && [sgpm.sites, sgpm.width, sgpm.hidden, sgpm.dilations];
  if (JSON.stringify(sizes(found)) !== JSON.stringify(sizes(config)))
    return (name) => name.startsWith('sgpm.');
  if (gateKindOf(found) !== gateKindOf(config)) return (name) => /^sgpm\.\d+\.gate\./.test(name);
  return () => false;
}
