/** What the commands share: the device options, opening an engine, parsing, and how errors are shown. */
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
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
import { type RegionMode, regionModes } from '../engine/graph/regions.js';
import type { WeightStorage } from '../engine/kernels/call.js';
import { choicesOf, parseTunedTable, tableFits } from '../engine/profiler/tune.js';
import { some } from '../imaging/dataset.js';
import { presets } from '../imaging/presets.js';
import type { WeightSource } from '../weights/weight-source.js';

/** Submits of about this length keep progress moving and an interrupt prompt. */
export const SUBMIT_BUDGET_MS = 400;

export interface DeviceOptions {
  adapter: AdapterChoice;
  limits: 'default' | 'raised';
  features: string;
  gateMode: RegionMode;
  variant: string[];
  /** False: as the planner chooses, whatever was measured. */
  tuned: boolean;
  quiet: boolean;
}

export const collect = (value: string, all: string[]): string[] => [...all, value];

/** The GPU adapter where none is named. */
export const defaultAdapter = (): AdapterChoice =>
  (process.env.SGP_SAM_ADAPTER as AdapterChoice | undefined) ?? 'auto';

/** Adds the option of what a device is opened with. */
export const featuresOption = (command: Command): Command =>
  command.option(
    '--features <which>',
    "'all' that WebGPU offers, 'none', or 'experimental': with Dawn's unsafe ones, such as subgroup matrices",
    process.env.SGP_SAM_FEATURES ?? 'all',
  );

/** That option's value. */
export const featuresOf = ({ features }: { readonly features: string }): DeviceFeatures =>
  oneOf('--features', features, deviceFeatures);

/** Adds the options of every command that computes on the device. */
export function deviceOptions(command: Command): Command {
  return featuresOption(command)
    .option('--adapter <name>', 'auto, hardware, software, lavapipe or swiftshader', defaultAdapter())
    .option(
      '--limits <which>',
      "'default' for WebGPU's default limits, 'raised' for what the adapter grants",
      'raised',
    )
    .option('--gate-mode <mode>', `how closed gates are skipped: ${regionModes.join(', ')}`, 'predicated')
    .option(
      '--variant <kernel=variant>',
      'force a kernel variant, for instance matmul=tiled (repeatable)',
      collect,
      [],
    )
    .option('--no-tuned', 'ignore what tune measured on this adapter')
    .option('-q, --quiet', 'no progress', false);
}

/** Adds the option of commands that only run a model: how its weights are held. */
export const storageOption = (command: Command): Command =>
  command.option(
    '--weight-storage <type>',
    `how weight matrices are held on the GPU: ${weightStorages.join(', ')} (f16: half the memory; texture: as f32, faster on some CPU adapters); by rule if not given`,
  );

/** That option's value, if it was given. */
export const storageOf = ({
  weightStorage,
}: {
  readonly weightStorage?: string;
}): WeightStorage | undefined =>
  weightStorage === undefined ? undefined : oneOf('--weight-storage', weightStorage, weightStorages);

/** The kernels that have variants to choose from. */
const VARIED = [
  'matmul',
  'conv3d',
  'conv_transpose',
  'layer_norm',
  'attention',
  'attention_backward',
  'transpose',
  'column_sum',
  'resize',
];

/** `kernel=variant` options as a record. */
export function variantsOf(options: Pick<DeviceOptions, 'variant'>): Record<string, string> {
  return Object.fromEntries(
    options.variant.map((text) => {
      const [kernel, variant, ...rest] = text.split('=');
      if (!kernel || !variant || rest.length > 0) {
        throw new SgpSamError(
          'bad-argument',
          `--variant '${text}' is not kernel=variant`,
          'For instance: --variant matmul=tiled',
        );
      }
      if (!VARIED.includes(kernel)) {
        throw new SgpSamError(
          'bad-argument',
          `--variant '${text}': no kernel '${kernel}' has variants`,
          `Choose one of: ${VARIED.join(', ')}.`,
        );
      }
      return [kernel, variant];
    }),
  );
}

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

/** @throws SgpSamError `bad-argument` naming the device option that is none */
export function checkDeviceOptions(options: DeviceOptions): void {
  if (!regionModes.includes(options.gateMode)) {
    throw new SgpSamError(
      'bad-argument',
      `--gate-mode '${options.gateMode}' is none of ${regionModes.join(', ')}`,
    );
  }
  if (options.limits !== 'default' && options.limits !== 'raised') {
    throw new SgpSamError('bad-argument', `--limits '${options.limits}' is neither 'default' nor 'raised'`);
  }
  featuresOf(options);
}

/** Checks the device options and opens an engine, with what `tune` kept for its adapter. */
export async function openEngine(options: DeviceOptions): Promise<Engine> {
  checkDeviceOptions(options);
  const { adapter, limits } = options;
  const features = featuresOf(options);
  const gpu = await openDevice({ adapter, limits, features });
  return new Engine(gpu, options.tuned === false ? undefined : keptChoices(gpu.adapter, features));
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

/** What `--preset` and `--zoom` say of themselves. */
export const PRESET_HELP = `preprocessing: ${Object.keys(presets).join(', ')}; default: the weights’ own, else sam-med3d`;
export const ZOOM_HELP =
  'at which scale lesions are seen: auto (looked for), off (the preset’s, around the first click), or the edge of a voxel in mm; ' +
  'default: auto for weights that were trained for it';

/** An option's number. */
export function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new SgpSamError('bad-argument', `${option} '${text}' is not a number`);
}

/** An option's whole number. */
export function wholeOf(option: string, text: string, least = 1): number {
  const value = numberOf(option, text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new SgpSamError('bad-argument', `${option} ${text} is not a whole number from ${least}`);
}

/** An option's whole number, or a range of them: 3, 1-8. */
export function rangeOf(option: string, text: string, fractions = false): { min: number; max: number } {
  const match = (fractions ? /^(\d*\.?\d+)(?:-(\d*\.?\d+))?$/ : /^(\d+)(?:-(\d+))?$/).exec(text.trim());
  if (match) return { min: Number(match[1]), max: Number(match[2] ?? match[1]) };
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}' is not a number or a range`,
    `For instance: ${option} ${fractions ? '0.08-1.3' : '1-8'}`,
  );
}

/** An option's value, if it is one of these. */
export function oneOf<T extends string>(option: string, text: string, all: readonly T[]): T {
  const found = all.find((one) => one === text);
  if (found !== undefined) return found;
  throw new SgpSamError('bad-argument', `${option} '${text}' is none of ${all.join(', ')}`);
}
