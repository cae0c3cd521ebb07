/** Model configurations: the rows of SPEC's table, and what a user may vary. */
import { need, needFields, needOneOf } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';

/**
 * Sizes of a SAM-Med3D model (SPEC A): cubes of `volume`³ voxels are cut into patches of `patch`³, `dim` channels each.
 */
export interface SamMed3DConfig {
  readonly name: string;
  /** Edge of the cubic input volume, in voxels. */
  readonly volume: number;
  readonly patch: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  /** Edge of an attention window, in patches. */
  readonly window: number;
  /** Indices of the blocks with global attention. */
  readonly global: readonly number[];
  /** Channels of the image embedding and the decoder. */
  readonly out: number;
}

/**
 * What a module has gates for (SPEC B1, E2): each output channel of its fusion, each branch, or the module as a whole. What is
 * closed is not computed: a channel's row of `project`, a branch's convolution and its columns of `project`, or everything.
 */
export const gateKinds = ['channel', 'branch', 'module'] as const;
/** One of {@link gateKinds}. */
export type GateKind = (typeof gateKinds)[number];

/** The Self-Gated Prompting Modules of a model (SPEC B1, E2). */
export interface SgpmConfig {
  /** What its gates are for; not given: each channel. */
  readonly gate?: GateKind | undefined;
  /** After which encoder blocks. */
  readonly sites: readonly number[];
  readonly width: number;
  readonly hidden: number;
  readonly dilations: readonly number[];
  /** Temperature of the gate in training. */
  readonly temperature: number;
}

/** A model: SAM-Med3D, and its gated modules where it has any. */
export interface ModelConfig extends SamMed3DConfig {
  readonly sgpm?: SgpmConfig | undefined;
}

const everyThird = (depth: number) => Array.from({ length: depth }, (_, i) => i).filter((i) => i % 3 === 2);
const everySixth = (depth: number) => Array.from({ length: 4 }, (_, i) => ((i + 1) * depth) / 4 - 1);

/** SAM-Med3D by name: its published sizes, and the small ones that are this project's own. */
export const samMed3DConfigs: Readonly<Record<string, SamMed3DConfig>> = {
  vit_b_ori: {
    name: 'vit_b_ori',
    volume: 128,
    patch: 16,
    dim: 768,
    depth: 12,
    heads: 12,
    window: 14,
    global: everyThird(12),
    out: 384,
  },
  vit_b: {
    name: 'vit_b',
    volume: 256,
    patch: 16,
    dim: 384,
    depth: 12,
    heads: 12,
    window: 14,
    global: everyThird(12),
    out: 384,
  },
  vit_l: {
    name: 'vit_l',
    volume: 256,
    patch: 16,
    dim: 1024,
    depth: 24,
    heads: 16,
    window: 14,
    global: everySixth(24),
    out: 384,
  },
  vit_h: {
    name: 'vit_h',
    volume: 256,
    patch: 16,
    dim: 1280,
    depth: 32,
    heads: 16,
    window: 14,
    global: everySixth(32),
    out: 384,
  },
  tiny: {
    name: 'tiny',
    volume: 48,
    patch: 8,
    dim: 48,
    depth: 4,
    heads: 3,
    window: 4,
    global: [1, 3],
    out: 48,
  },
  // Ours: small enough to be trained on a CPU adapter and to ship. Every block sees the whole volume: with windows what
  // is far from the click does not learn in time what was clicked.
  small: {
    name: 'small',
    volume: 48,
    patch: 6,
    dim: 128,
    depth: 4,
    heads: 4,
    window: 8,
    global: [0, 1, 2, 3],
    out: 96,
  },
};

/** Where a configuration's modules differ from SPEC's defaults. */
const sgpmOf: Readonly<Record<string, Partial<SgpmConfig>>> = {
  // Not after every block, though every one is global.
  small: { sites: [1, 3], width: 24 },
};

/** SPEC's defaults for the modules: after the global blocks, width dim/8, hidden 64, dilations 1 2 3; `small` has its own. */
export function defaultSgpm(config: SamMed3DConfig, overrides: Partial<SgpmConfig> = {}): SgpmConfig {
  needFields('defaultSgpm: config', config, 'global');
  need('defaultSgpm: config.dim', config.dim, 'a number above 0');
  return {
    sites: config.global,
    width: config.dim / 8,
    hidden: 64,
    dilations: [1, 2, 3],
    temperature: 1,
    ...sgpmOf[config.name],
    ...overrides,
  };
}

/**
 * A configuration by its name: SPEC's names, with the prefix `sgp-` for the same with SGPMs at their defaults.
 * @throws SgpSamError `bad-argument` listing the names
 */
export function configByName(name: string): ModelConfig {
  need('configByName: name', name, 'a text');
  const sgp = name.startsWith('sgp-');
  const config = samMed3DConfigs[sgp ? name.slice(4) : name];
  if (!config || !Object.hasOwn(samMed3DConfigs, config.name)) {
    const names = Object.keys(samMed3DConfigs).flatMap((n) => [n, `sgp-${n}`]);
    throw new SgpSamError(
      'bad-argument',
      `no configuration is called '${name}'`,
      `Choose from: ${names.join(', ')}.`,
    );
  }
  return sgp ? { ...config, sgpm: defaultSgpm(config) } : config;
}

/** What a configuration's modules have gates for; `channel` unless it says. */
export const gateKindOf = ({ sgpm }: ModelConfig): GateKind => sgpm?.gate ?? 'channel';

/** Gates of each of a configuration's modules: the length of a gate's logits. */
export function gatesOf(config: ModelConfig): number {
  const branches = config.sgpm?.dilations.length ?? 0;
  return { channel: config.dim, branch: branches, module: 1 }[gateKindOf(config)];
}

/** Patches along an edge. */
export const gridOf = (config: SamMed3DConfig): number => config.volume / config.patch;

/** @throws SgpSamError `bad-argument` naming the field that makes no model */
export function checkConfig(config: ModelConfig): void {
  const bad = (field: string, why: string): never => {
    throw new SgpSamError('bad-argument', `configuration '${config.name}': ${field} ${why}`);
  };
  needFields('configuration', config, 'global');
  need('configuration.global', config.global, 'a list');
  for (const field of ['volume', 'patch', 'dim', 'depth', 'heads', 'window', 'out'] as const) {
    if (!Number.isInteger(config[field]) || config[field] < 1)
      bad(field, `is ${config[field]}, not a positive integer`);
  }
  if (config.volume % config.patch !== 0)
    bad('volume', `${config.volume} is not a multiple of patch ${config.patch}`);
  if (config.dim % config.heads !== 0) bad('dim', `${config.dim} is not a multiple of heads ${config.heads}`);
  // Three parts of out/3 in the position encoding, out/8 channels before the masks, 8 heads of out/2 channels.
  if (config.out % 48 !== 0) bad('out', `${config.out} is not a multiple of 48`);
  for (const i of [...config.global, ...(config.sgpm?.sites ?? [])]) {
    if (!Number.isInteger(i) || i < 0 || i >= config.depth)
      bad('block index', `${i} is outside 0…${config.depth - 1}`);
  }
  if (config.sgpm) {
    const { gate, sites, width, hidden, dilations, temperature } = config.sgpm;
    if (gate !== undefined) needOneOf('configuration.sgpm.gate', gate, gateKinds);
    if (!(temperature > 0 && Number.isFinite(temperature)))
      bad('sgpm.temperature', `is ${temperature}, not a number above 0`);
    if (!Number.isInteger(width) || width < 1) bad('sgpm.width', `is ${width}, not a positive integer`);
    if (!Number.isInteger(hidden) || hidden < 1) bad('sgpm.hidden', `is ${hidden}, not a positive integer`);
    if (dilations.length < 1 || dilations.some((d) => !Number.isInteger(d) || d < 1))
      bad('sgpm.dilations', 'must be positive integers');
    if (sites.some((site, j) => j > 0 && site < sites[j - 1]))
      bad('sgpm.sites', 'must be in block order: modules are numbered so');
    if (new Set(sites).size !== sites.length) bad('sgpm.sites', 'has a block twice');
  }
}

/** Every LayerNorm of the image encoder and of the modules in it. */
export const ENCODER_EPS = 1e-6;
