/** `profile`: where the time of an encode, a decode or a training step goes, against what the device can do. */
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../errors.js';
import type { Engine } from '../gpu/engine.js';
import type { Program } from '../graph/program.js';
import type { GateSetting } from '../graph/regions.js';
import { configByName, type ModelConfig } from '../models/config.js';
import {
  compareText,
  measureCeilings,
  type Profile,
  parseProfile,
  profileHtml,
  profileProgram,
  profileText,
  type ShaderText,
  shadersOf,
  traceOf,
} from '../profiling/index.js';
import { Model } from '../session/model.js';
import { initialBase, losses, matcher, TrainStep } from '../training/index.js';
import { writeFileAtomic } from '../volumes/nifti.node.js';
import {
  type DeviceOptions,
  deviceOptions,
  interruptible,
  oneOf,
  requireWritableFolder,
  variantsOf,
  wholeOf,
  withEngine,
} from './common.js';
import { ProgressBars } from './progress.js';
import { openChosenWeights, SHIPPED, weightsName } from './weights.js';

const WORK = ['encode', 'decode', 'train'] as const;
type Work = (typeof WORK)[number];
const GATES: readonly GateSetting[] = ['auto', 'closed', 'open'];

interface ProfileOptions extends DeviceOptions {
  config?: string;
  weights?: string;
  train: string;
  gates: string;
  runs: string;
  top: string;
  json?: string;
  trace?: string;
  html?: string;
  dumpWgsl?: string;
  compare?: string[];
}

/** A program ready to be profiled, and what to free afterwards. */
interface Prepared {
  readonly program: Program;
  readonly model: string;
  dispose(): void;
}

/** Values that are neither constant nor random: kernels must not be faster for zeros. */
const waves = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37));

async function inference(engine: Engine, work: Work, options: ProfileOptions): Promise<Prepared> {
  const choice = options.config === undefined ? options : { weights: `formula:${options.config}` };
  const { source, config } = await openChosenWeights(choice);
  let model: Model;
  try {
    model = await Model.load(engine, source, { config, variants: variantsOf(options) });
  } finally {
    await source.close();
  }
  for (const site of (model.config.sgpm?.sites ?? []).keys()) {
    model.setGate(site, options.gates as GateSetting);
  }
  const { volume } = model.config;
  await model.encode(waves(volume ** 3));
  const name = options.config ?? `${weightsName(options)} (${model.config.name})`;
  const dispose = () => model.dispose();
  if (work === 'encode') return { program: model.encoderProgram, model: name, dispose };
  const program = await model.decoderProgram(2, true);
  const middle = volume / 2;
  program.write('points', new Float32Array([middle, middle, middle, 1, 0, 0, 0, -1]));
  program.write('mask', model.emptyMask());
  return { program, model: name, dispose };
}

async function training(engine: Engine, config: ModelConfig, options: ProfileOptions): Promise<Prepared> {
  const base = initialBase(config.sgpm ? 'sgp-zoom' : 'ft-zoom', config, 1);
  const step = await TrainStep.create(engine, base.config, base.read, {
    loss: losses.zoom,
    trainable: matcher(options.train),
    groups: [{ match: () => true, lr: 1e-4, weightDecay: 1e-4 }],
    variants: variantsOf(options),
  });
  const { volume } = base.config;
  const targets = Float32Array.from({ length: volume ** 3 }, (_, i) => Number(i % 97 < 3));
  const at = [volume / 2, volume / 2, volume / 2] as const;
  await step.run({ image: waves(volume ** 3), targets, points: [{ at, label: 1 }] }, 1);
  return { program: step.lastProgram, model: config.name, dispose: () => step.dispose() };
}

/** One file per shader, numbered in the order of first use, with where it is used. */
async function dumpShaders(folder: string, shaders: readonly ShaderText[]): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const written: string[] = [];
  for (const [i, { name, variants, code }] of shaders.entries()) {
    const file = join(folder, `${String(i).padStart(3, '0')}-${name}.wgsl`);
    const text = `// ${variants.join(', ')}\n${code}`;
    await writeFileAtomic(file, new TextEncoder().encode(text.endsWith('\n') ? text : `${text}\n`));
    written.push(file);
  }
  return written;
}

async function compare(files: readonly string[]): Promise<void> {
  if (files.length !== 2)
    throw new SgpSamError(
      'bad-argument',
      '--compare takes two files',
      'For instance: --compare a.json b.json',
    );
  const read = async (file: string): Promise<Profile> => {
    if (!existsSync(file)) throw new SgpSamError('bad-file', `Cannot read ${file}: there is no such file.`);
    return parseProfile(await readFile(file, 'utf8'), file);
  };
  const [a, b] = [await read(files[0] as string), await read(files[1] as string)];
  process.stdout.write(compareText(a, b));
}

async function profile(workText: string | undefined, options: ProfileOptions): Promise<void> {
  if (options.compare) return compare(options.compare);
  const work = oneOf('profile', workText ?? 'encode', WORK);
  const runs = wholeOf('--runs', options.runs);
  const top = wholeOf('--top', options.top, 0);
  oneOf('--gates', options.gates, GATES);
  if (options.config !== undefined && options.weights !== undefined)
    throw new SgpSamError(
      'bad-argument',
      '--config and --weights are two answers to one question',
      'Give one.',
    );
  if (work === 'train' && options.weights !== undefined)
    throw new SgpSamError('bad-argument', 'profile train takes --config, not --weights');
  const outputs: [string, string | undefined][] = [
    ['--json', options.json],
    ['--trace', options.trace],
    ['--html', options.html],
  ];
  for (const [option, path] of outputs) if (path !== undefined) requireWritableFolder(option, path);
  const config = options.config === undefined ? undefined : configByName(options.config);
  variantsOf(options);
  const bars = new ProgressBars(options.quiet);
  await interruptible(async (signal) => {
    await withEngine(options, async (engine) => {
      const prepared =
        work === 'train'
          ? await training(engine, config ?? configByName('sgp-small'), options)
          : await inference(engine, work, options);
      try {
        const ceilings = await measureCeilings(engine);
        const result = await profileProgram(engine, prepared.program, {
          what: work,
          model: prepared.model,
          runs,
          mode: options.gateMode,
          ceilings,
          signal,
          progress: (done, total) => bars.report({ stage: 'profile', done, total }),
        });
        bars.finish();
        const encode = (text: string) => new TextEncoder().encode(text);
        const written: string[] = [];
        const write = async (path: string | undefined, text: () => string) => {
          if (path === undefined) return;
          await writeFileAtomic(path, encode(text()));
          written.push(path);
        };
        await write(options.json, () => `${JSON.stringify(result, null, 1)}\n`);
        await write(options.trace, () => traceOf(result));
        await write(options.html, () => profileHtml(result));
        process.stdout.write(profileText(result, top));
        if (options.dumpWgsl !== undefined) {
          const files = await dumpShaders(options.dumpWgsl, shadersOf(prepared.program));
          written.push(`${files.length} shaders into ${options.dumpWgsl}`);
        }
        for (const name of written) process.stdout.write(`wrote ${name}\n`);
      } finally {
        bars.finish();
        prepared.dispose();
      }
    });
  });
}

export function addProfile(program: Command): void {
  const command = program
    .command('profile')
    .description(
      'where the time goes: every dispatch of an encode, a decode or a training step, against the ceilings of this device as measured',
    )
    .argument('[work]', `${WORK.join(', ')}; default: encode`)
    .option('--config <name>', 'a configuration with formula weights: tiny, small, vit_b_ori, sgp-…')
    .option('--weights <file>', `or these weights; default: the shipped ${SHIPPED}`)
    .option(
      '--train <patterns>',
      'profile train: what is trained, names with * and commas',
      'sgpm.*,mask_decoder.*',
    )
    .option('--gates <setting>', 'auto (as the gates decide), closed, open', 'auto')
    .option('--runs <n>', 'times are medians of so many runs', '5')
    .option('--top <n>', 'how many of the costliest dispatches are listed', '15')
    .option('--json <p.json>', 'also write everything as JSON')
    .option('--trace <t.json>', 'also write a trace for Perfetto (ui.perfetto.dev) or chrome://tracing')
    .option('--html <r.html>', 'also write a report for people')
    .option('--dump-wgsl <folder>', 'also write the WGSL that ran, as it ran')
    .option('--compare <files...>', 'compare two files that --json wrote: which kernels got faster');
  deviceOptions(command).action(profile);
}
