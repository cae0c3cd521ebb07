/** What the commands share: the device options, opening an engine, parsing, and how errors are shown. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { readTextBytes } from '../base/json.node.js';
import {
  type AdapterChoice,
  type AdapterReport,
  type DeviceFeatures,
  deviceFeatures,
} from '../engine/gpu/device.js';
import { Engine } from '../engine/gpu/engine.js';
import { openDevice } from '../engine/gpu/node/open.js';
import { readTunedFile, tunedFile } from '../engine/gpu/node/tuned.js';
import { weightStorages } from '../engine/graph/layout.js';
import { regionModes } from '../engine/graph/regions.js';
import { variedKernels } from '../engine/kernels/variants.js';
import { choicesOf, parseTunedTable, tableFits } from '../engine/profiler/tune.js';
import { type Compared, parseResults } from '../evaluation/compare.js';
import { some } from '../imaging/dataset.js';
import { presets, resolvePreset } from '../imaging/presets.js';
import { parseZoom } from '../session/zoom.js';
import { scopeOf } from '../weights/card.js';
import type { WeightSource } from '../weights/weight-source.js';
import { flag, many, off, oneOf, option, type Read, type Values } from './options.js';

/** Submits of about this length keep progress moving and an interrupt prompt. */
export const SUBMIT_BUDGET_MS = 400;

/** The GPU adapter where none is named. */
export const defaultAdapter = (): AdapterChoice =>
  (process.env.SGP_SAM_ADAPTER as AdapterChoice | undefined) ?? 'auto';

/** `kernel=variant`. */
const variant: Read<readonly [string, string]> = (option, text) => {
  const [kernel, variant, ...rest] = text.split('=');
  if (!kernel || !variant || rest.length > 0) {
    throw new SgpSamError(
      'bad-argument',
      `${option} '${text}' is not kernel=variant`,
      'For instance: --variant matmul=tiled',
    );
  }
  if (variedKernels().includes(kernel)) return [kernel, variant];
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}': no kernel '${kernel}' has variants`,
    `Choose one of: ${variedKernels().join(', ')}.`,
  );
};

/** The options of every command that computes on the device. */
export const deviceTable = {
  features: option(
    '<which>',
    "'all' that WebGPU offers, 'none', or 'experimental': with Dawn's unsafe ones, such as subgroup matrices",
    oneOf(deviceFeatures),
    process.env.SGP_SAM_FEATURES ?? 'all',
  ),
  // Whether there is such an adapter is for the search to say.
  adapter: option(
    '<name>',
    'auto, hardware, software, lavapipe or swiftshader',
    (_, text) => text as AdapterChoice,
    defaultAdapter(),
  ),
  limits: option(
    '<which>',
    "'default' for WebGPU's default limits, 'raised' for what the adapter grants",
    oneOf(['default', 'raised']),
    'raised',
  ),
  gateMode: option(
    '<mode>',
    `how closed gates are skipped: ${regionModes.join(', ')}`,
    oneOf(regionModes),
    'predicated',
  ),
  variant: many(
    '<kernel=variant>',
    'force a kernel variant, for instance matmul=tiled (repeatable)',
    variant,
  ),
  tuned: off('ignore what tune measured on this adapter'),
  quiet: flag('no progress', '-q, '),
};
export type DeviceOptions = Values<typeof deviceTable>;

/** A whole number from 0. */
export const channelNumber: Read<number> = (option, text) => {
  if (/^\d+$/.test(text)) return Number(text);
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}' is not a whole number`,
    'Channels count from 0, for instance: --channel 1',
  );
};

/** The option of commands that read scans. */
export const seriesOption = option(
  '<which>',
  'which series of a DICOM folder, by its number in the list, its UID, or a part of its description',
  (_, text) => text,
);

/** The option of commands that only run a model. */
export const storageTable = {
  weightStorage: option(
    '<type>',
    `how weight matrices are held on the GPU: ${weightStorages.join(', ')} (f16: half the memory; texture: as f32, faster on some CPU adapters); by rule if not given`,
    oneOf(weightStorages),
  ),
};

/** `--variant` as the planner takes it. */
export const variantsOf = ({ variant }: Pick<DeviceOptions, 'variant'>): Record<string, string> =>
  Object.fromEntries(variant);

/** What `tune` kept for this adapter; a table that is broken is said and passed over: it only makes things faster. */
function keptChoices(adapter: AdapterReport, features: DeviceFeatures): Record<string, string> | undefined {
  const file = tunedFile(adapter, __VERSION__, features);
  if (file === undefined) return undefined;
  try {
    const text = readTunedFile(file);
    if (text === undefined) return undefined;
    const table = parseTunedTable(text, file);
    return tableFits(table, adapter) ? choicesOf(table) : undefined;
  } catch (error) {
    process.stderr.write(`not used: ${error instanceof Error ? error.message : error}\n`);
    return undefined;
  }
}

/** Opens an engine, with what `tune` kept for its adapter. */
export async function openEngine({ adapter, limits, features, tuned }: DeviceOptions): Promise<Engine> {
  const gpu = await openDevice({ adapter, limits, features });
  return new Engine(gpu, tuned ? keptChoices(gpu.adapter, features) : undefined);
}

/** Runs `work` on an engine that is disposed of afterwards. */
export async function withEngine<R>(
  options: DeviceOptions,
  work: (engine: Engine) => Promise<R>,
): Promise<R> {
  const engine = await openEngine(options);
  try {
    return await work(engine);
  } finally {
    engine.dispose();
  }
}

/** Milliseconds that `work` takes, with its result. */
export async function timed<R>(work: () => Promise<R>): Promise<{ result: R; ms: number }> {
  const begin = performance.now();
  const result = await work();
  return { result, ms: performance.now() - begin };
}

/** An error for a person: ours as they are, foreign ones with their stack, since they are our bugs. */
export function errorText(error: unknown): string {
  if (error instanceof SgpSamError) return `error: ${error.message}\n`;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `internal error (please report it): ${text}\n`;
}

/**
 * Says, on stderr, which of several state dicts of a PyTorch file was taken, and which classes and functions it names;
 * reading it runs none of them.
 */
export function tellOfWeights({ name, note, placeholders = [] }: WeightSource): void {
  if (note !== undefined) process.stderr.write(`${note}\n`);
  if (placeholders.length > 0)
    process.stderr.write(`${name}: named in the file and not run: ${some(placeholders)}\n`);
}

/** Options of every command that looks at volumes. */
export const presetOption = option(
  '<name>',
  `preprocessing: ${Object.keys(presets).join(', ')}; default: the weights’ own, else sam-med3d`,
  (_, text) => resolvePreset(text),
);
export const zoomOption = option(
  '<how>',
  'at which scale lesions are seen: auto (looked for), off (the preset’s, around the first click), or the edge of a voxel in mm; ' +
    'default: auto for weights that were trained for it',
  (_, text) => parseZoom(text),
);

/** What weights are for: checked, and kept as it was written. */
export const scope: Read<string> = (option, text) => {
  scopeOf(option, text);
  return text;
};

/** A results file of `eval`, or that in a folder of one. */
export const resultsFile = (path: string): string =>
  existsSync(path) && statSync(path).isDirectory() ? join(path, 'results.json') : path;

/** @throws SgpSamError `bad-file` naming the entry, for what is no results of `eval` */
export const readResults = (path: string): Compared =>
  parseResults(readTextBytes(resultsFile(path), 'Give results that eval wrote.'), path);
