/** What a fixture was computed with: configuration, input volume, points (SPEC C and D). */

import { SgpSamError } from '../base/errors.js';
import type { WeightStorage } from '../engine/kernels/rules.js';
import { configByName, defaultSgpm, type ModelConfig } from '../sam/config.js';
import type { PromptPoint } from '../sam/model.js';
import { uniform } from '../weights/formula.js';
import { type Comparison, type Fixture, metadataIndices, metadataNumber } from './compare.js';

/** SPEC D: ≤ 2e-5 per stage at tiny, ≤ 2e-4 at full size. Full size begins where sums are longer than a few hundred. */
export function stageTolerance(config: ModelConfig, storage: WeightStorage = 'f32'): number {
  const tiny = config.dim < 256;
  // Ours: what weights rounded to 11 bits move a stage by, which deep models with formula weights amplify. The kernels
  // are exact in the rounded weights, to SPEC's tolerance (kernels-test/sam/weight-storage.test.ts).
  if (storage === 'f16') return tiny ? 5e-3 : 5e-2;
  return tiny ? 2e-5 : 2e-4;
}

/** The fixture's configuration: the named one, overruled by every field the metadata spells out. */
export function configOf(fixture: Fixture): ModelConfig {
  const name = fixture.metadata.config ?? 'custom';
  const number = (key: string) => metadataNumber(fixture, key);
  const spelt = {
    volume: number('img'),
    patch: number('patch'),
    dim: number('dim'),
    depth: number('depth'),
    heads: number('heads'),
    window: number('window'),
    out: number('out'),
    global: metadataIndices(fixture, 'global'),
  };
  const complete = Object.values(spelt).every((v) => v !== undefined);
  if (!complete && fixture.metadata.config === undefined) {
    throw new SgpSamError(
      'bad-file',
      `${fixture.name}: the metadata has no 'config', nor all of img, patch, dim, depth, heads, window, out and global`,
      'They say which model the numbers are of, for instance config = tiny.',
    );
  }
  const given = Object.fromEntries(Object.entries(spelt).filter(([, v]) => v !== undefined));
  const base = { ...(complete ? {} : configByName(name)), ...given, name } as ModelConfig;
  const sites = metadataIndices(fixture, 'sites');
  if (!sites) return base;
  const width = number('width');
  const hidden = number('hidden');
  const dilations = metadataIndices(fixture, 'dilations');
  return {
    ...base,
    sgpm: defaultSgpm(base, {
      sites,
      ...(width ? { width } : {}),
      ...(hidden ? { hidden } : {}),
      ...(dilations ? { dilations } : {}),
    }),
  };
}

/** The input volume of a fixture: uniform("input.image", n³, seed)·√3 (SPEC C). */
export function inputImage(config: ModelConfig, seed: number): Float32Array {
  const values = uniform('input.image', config.volume ** 3, seed);
  return Float32Array.from(values, (v) => v * Math.sqrt(3));
}

export async function pointsOf(c: Comparison): Promise<PromptPoint[]> {
  const points = await c.values('points');
  const labels = await c.values('labels');
  return Array.from(labels, (label, i) => ({
    at: [points[3 * i], points[3 * i + 1], points[3 * i + 2]] as const,
    label: label as PromptPoint['label'],
  }));
}
