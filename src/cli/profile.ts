/** `profile`: where the time of an encode, a decode or a training step goes, against what the device can do. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/files.node.js';
import { withDigest } from '../base/json.js';
import { readTextBytes } from '../base/json.node.js';
import { nullFamilies } from '../engine/gpu/node/null-gpu.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { compareText, parseProfile } from '../engine/profiler/compare.js';
import {
  profileProgram,
  profileText,
  type ShaderText,
  shadersOf,
  traceOf,
} from '../engine/profiler/index.js';
import { profileHtml } from '../report/profile.js';
import { configByName, type ModelConfig } from '../sam/config.js';
import { inferConfig } from '../sam/infer.js';
import { deviceTable, storageTable, variantsOf, withEngine } from './common.js';
import { asIs, declare, oneOf, option, several, type Values, valuesOf, whole, wholeFrom } from './options.js';
import { checkOutputs, makeFolder, outputsOf, writeOutput } from './outputs.js';
import { profileIsa } from './profile-isa.js';
import { ProgressBars } from './progress.js';
import { openChosenWeights, SHIPPED, weightFiles } from './weights.js';
import { checkChoice, prepareWork, WORK } from './work.js';

const GATES: readonly GateSetting[] = ['auto', 'closed', 'open'];

const profileTable = {
  config: option('<name>', 'a configuration with formula weights: tiny, small, vit_b_ori, sgp-…', asIs),
  weights: option('<file>', `or these weights; default: the shipped ${SHIPPED}`, asIs),
  train: option(
    '<patterns>',
    'profile train: what is trained, names with * and commas',
    asIs,
    'sgpm.*,mask_decoder.*',
  ),
  gates: option('<setting>', 'auto (as the gates decide), closed, open', oneOf(GATES), 'auto'),
  runs: option('<n>', 'times are medians of so many runs', whole, '5'),
  top: option('<n>', 'how many of the costliest dispatches are listed', wholeFrom(0), '15'),
  json: option('<p.json>', 'also write everything as JSON', asIs),
  trace: option('<t.json>', 'also write a trace for Perfetto (ui.perfetto.dev) or chrome://tracing', asIs),
  html: option('<r.html>', 'also write a report for people', asIs),
  dumpWgsl: option('<folder>', 'also write the WGSL that ran, as it ran', asIs),
  isa: option(
    '<family>',
    `run nothing, and tell what Mesa’s compiler makes of the kernels for an AMD GPU that need not be there: ${nullFamilies.join(', ')}; --dump-wgsl then writes machine code too`,
    oneOf(nullFamilies),
  ),
  compare: several('<files...>', 'compare two files that --json wrote: which kernels got faster'),
  ...storageTable,
  ...deviceTable,
};

/** The configuration that is named, else that of the weights. */
async function configOf(options: Values<typeof profileTable>): Promise<ModelConfig> {
  if (options.config !== undefined) return configByName(options.config);
  const source = await openChosenWeights(options);
  try {
    return inferConfig(source.tensors, source.metadata, source.name);
  } finally {
    await source.close();
  }
}

/** One file per shader, numbered in the order of first use, with where it is used. */
async function dumpShaders(folder: string, shaders: readonly ShaderText[]): Promise<string[]> {
  const written: string[] = [];
  for (const [i, { name, variants, code }] of shaders.entries()) {
    const file = join(folder, `${String(i).padStart(3, '0')}-${name}.wgsl`);
    const text = `// ${variants.join(', ')}\n${code}`;
    await writeFileAtomic(file, text.endsWith('\n') ? text : `${text}\n`);
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
  const [a, b] = files.map((file) => parseProfile(readTextBytes(file), file));
  process.stdout.write(compareText(a, b));
}

async function profile(workText: string | undefined, options: Values<typeof profileTable>): Promise<void> {
  if (options.compare) return compare(options.compare);
  const work = oneOf(WORK)('profile', workText ?? 'encode');
  checkChoice(options);
  const { runs, top, json, trace, html, isa } = options;
  if (isa !== undefined && (trace ?? html) !== undefined)
    throw new SgpSamError(
      'bad-argument',
      '--isa runs nothing: there is no --trace and no --html of it',
      'Leave them out, or leave out --isa.',
    );
  checkOutputs(outputsOf({ '--json': json, '--trace': trace, '--html': html }), weightFiles(options));
  if (options.dumpWgsl !== undefined) makeFolder({ option: '--dump-wgsl', path: options.dumpWgsl });
  if (isa !== undefined)
    return profileIsa({
      ...options,
      family: isa,
      work,
      config: await configOf(options),
      variants: variantsOf(options),
      dump: options.dumpWgsl,
    });
  const bars = new ProgressBars(options.quiet);
  await withEngine(options, async (engine) => {
    const prepared = await prepareWork(engine, work, options);
    try {
      const result = await profileProgram(engine, prepared.program, {
        what: work,
        model: prepared.model,
        runs,
        mode: options.gateMode,
        progress: (done, total) => bars.report({ stage: 'profile', done, total }),
      });
      bars.finish();
      const written: string[] = [];
      const write = async (path: string | undefined, text: () => string) => {
        if (path === undefined) return;
        await writeOutput(path, text());
        written.push(path);
      };
      await write(options.json, () => `${JSON.stringify(withDigest(result, 'profile'), null, 1)}\n`);
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
}

export function addProfile(program: Command): void {
  const command = program
    .command('profile')
    .description(
      'where the time goes: every dispatch of an encode, a decode or a training step, against the ceilings of this device as measured',
    )
    .argument('[work]', `${WORK.join(', ')}; default: encode`);
  declare(command, profileTable).action((work, parsed) => profile(work, valuesOf(profileTable, parsed)));
}
