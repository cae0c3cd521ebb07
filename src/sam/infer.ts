/** Which model a weights file holds, read from its tensors' names and shapes. */
import { SgpSamError } from '../base/errors.js';
import { jsonText, readJson } from '../base/json.js';
import {
  defaultSgpm,
  type GateKind,
  gateKindOf,
  gateKinds,
  gatesOf,
  type ModelConfig,
  samMed3DConfigs,
} from './config.js';

type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/**
 * The configuration that fits `tensors`. Everything follows from shapes but the SGPMs' sites and what their gates are for: those come
 * from the metadata entries `sgpm.sites` (a JSON list; else they are the global blocks) and `sgpm.gate` (else each channel).
 * @param name of the file, for errors
 * @throws SgpSamError `bad-weights` naming the tensor that is missing or makes no sense
 */
export function inferConfig(
  tensors: Shapes,
  metadata: Readonly<Record<string, string>> = {},
  name = 'weights',
): ModelConfig {
  const shape = (tensor: string, rank: number): readonly number[] => {
    const found = tensors.get(tensor)?.shape;
    if (!found || found.length !== rank) {
      const what = found ? `has shape (${found.join(', ')}), not ${rank} axes` : 'is missing';
      const names = [...tensors.keys()].slice(0, 8).join(', ').slice(0, 400);
      throw new SgpSamError(
        'bad-weights',
        `${name}: not a SAM-Med3D model: ${tensor} ${what}`,
        'Give a SAM-Med3D or SGP-SAM checkpoint: its parameters are called image_encoder.…, prompt_encoder.… and mask_decoder.…. ' +
          `In this file they are called: ${names || 'nothing'}${tensors.size > 8 ? ', …' : '.'}`,
      );
    }
    return found;
  };
  const e = 'image_encoder';
  const [, grid, , , dim] = shape(`${e}.pos_embed`, 5);
  const patch = shape(`${e}.patch_embed.proj.weight`, 5)[2];
  const out = shape(`${e}.neck.0.weight`, 5)[0];
  let depth = 0;
  while (tensors.has(`${e}.blocks.${depth}.norm1.weight`)) depth++;
  const tables = Array.from({ length: depth }, (_, i) => shape(`${e}.blocks.${i}.attn.rel_pos_d`, 2));
  if (depth === 0) shape(`${e}.blocks.0.attn.rel_pos_d`, 2);
  const headDim = tables[0][1];
  const edges = tables.map((table) => (table[0] + 1) / 2);
  // A block whose table has the grid's length is global; were a window as long, the two would be the same.
  const global = edges.flatMap((edge, i) => (edge === grid ? [i] : []));
  const window = edges.find((edge) => edge !== grid) ?? grid;
  const config: ModelConfig = {
    name: 'custom',
    volume: grid * patch,
    patch,
    dim,
    depth,
    heads: dim / headDim,
    window,
    global,
    out,
  };
  const known = Object.values(samMed3DConfigs).find((c) => {
    return JSON.stringify({ ...c, name: '' }) === JSON.stringify({ ...config, name: '' });
  });
  const named = known ?? config;
  return { ...named, ...sgpmOf(tensors, metadata, named, name) };
}

/** Of a configuration what tensors' names and shapes do not say, as the metadata of a weights file. */
export function siteMetadata(config: ModelConfig): Record<string, string> {
  const { sgpm } = config;
  if (!sgpm) return {};
  const gate = gateKindOf(config);
  return {
    'sgpm.sites': jsonText(sgpm.sites, 'sites'),
    'sgpm.dilations': jsonText(sgpm.dilations, 'dilations'),
    ...(gate === 'channel' ? {} : { 'sgpm.gate': gate }),
  };
}

function sgpmOf(
  tensors: Shapes,
  metadata: Readonly<Record<string, string>>,
  config: ModelConfig,
  name: string,
): Pick<ModelConfig, 'sgpm'> {
  let count = 0;
  while (tensors.has(`sgpm.${count}.gate.lin1.weight`)) count++;
  if (count === 0) return {};
  const first = (tensor: string): number => {
    const found = tensors.get(tensor)?.shape[0];
    if (found === undefined) throw new SgpSamError('bad-weights', `${name}: tensor ${tensor} is missing`);
    return found;
  };
  const width = first('sgpm.0.fusion.reduce.weight');
  const hidden = first('sgpm.0.gate.lin1.weight');
  let branches = 0;
  while (tensors.has(`sgpm.0.fusion.branches.${branches}.weight`)) branches++;
  const numbers = (key: string, fallback: readonly number[]): readonly number[] => {
    if (metadata[key] === undefined) return fallback;
    try {
      const value = readJson(metadata[key], key);
      if (Array.isArray(value) && value.every((v) => Number.isInteger(v))) return value;
    } catch {
      // falls through to the error
    }
    throw new SgpSamError(
      'bad-weights',
      `${name}: metadata '${key}' is '${metadata[key]}', not a list of integers`,
    );
  };
  const sites = numbers('sgpm.sites', config.global);
  const dilations = numbers(
    'sgpm.dilations',
    Array.from({ length: branches }, (_, i) => i + 1),
  );
  if (sites.length !== count || dilations.length !== branches) {
    throw new SgpSamError(
      'bad-weights',
      `${name}: ${count} SGPMs with ${branches} branches, but sites [${sites.join(', ')}] and dilations [${dilations.join(', ')}]`,
      "Put the sites into the file's metadata as 'sgpm.sites', a JSON list of block indices (and 'sgpm.dilations').",
    );
  }
  const kind = metadata['sgpm.gate'] ?? 'channel';
  if (!(gateKinds as readonly string[]).includes(kind))
    throw new SgpSamError(
      'bad-weights',
      `${name}: metadata 'sgpm.gate' is '${kind}', not one of ${gateKinds.join(', ')}`,
      'It says what the gates are for; without it they are for each channel.',
    );
  const gate = kind === 'channel' ? {} : { gate: kind as GateKind };
  const sgpm = defaultSgpm(config, { sites, width, hidden, dilations, ...gate });
  const [gates, wanted] = [first('sgpm.0.gate.lin2.weight'), gatesOf({ ...config, sgpm })];
  if (gates !== wanted)
    throw new SgpSamError(
      'bad-weights',
      `${name}: sgpm.0.gate.lin2.weight has ${gates} gates, where '${kind}' has ${wanted}`,
      "Put what the gates are for into the file's metadata as 'sgpm.gate': channel, branch or module.",
    );
  return { sgpm };
}
