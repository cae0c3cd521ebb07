/** `kernel`: a WGSL kernel of the user's own, checked against float64 and timed beside ours. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { readText } from '../base/json.node.js';
import { fixed, tableOf, tableText } from '../base/table.js';
import { adapterLine } from '../engine/gpu/device.js';
import { measureCeilings } from '../engine/profiler/ceilings.js';
import {
  compareOwnKernel,
  OWN_KERNEL_TOLERANCE,
  type OwnKernelReport,
  type ProductShape,
} from '../engine/profiler/own-kernel.js';
import { deviceTable, withEngine } from './common.js';
import {
  asIs,
  declare,
  many,
  number,
  option,
  type Read,
  required,
  type Values,
  valuesOf,
  whole,
} from './options.js';
import { checkOutputs, outputsOf, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';

/** `matmul:512x768x3072` → rows, k, n. */
const shapeOf: Read<ProductShape> = (option, text) => {
  const match = /^matmul:(\d+)x(\d+)x(\d+)$/.exec(text);
  if (!match)
    throw new SgpSamError(
      'bad-argument',
      `${option} '${text}' is not matmul:ROWSxKxN`,
      'For instance: --like matmul:512x768x3072, C (512, 3072) = A (512, 768) · B (768, 3072).',
    );
  const [rows, k, n] = match.slice(1).map(Number) as [number, number, number];
  return { rows, k, n };
};

const tileOf: Read<{ rows: number; columns: number }> = (option, text) => {
  const [rows = 0, columns = 0] = (/^(\d+)x(\d+)$/.exec(text) ?? []).slice(1).map(Number);
  if (rows >= 1 && columns >= 1) return { rows, columns };
  throw new SgpSamError(
    'bad-argument',
    `${option} '${text}' is not ROWSxCOLUMNS`,
    'For instance: --tile 64x64',
  );
};

const defineOf: Read<readonly [string, number]> = (option, text) => {
  const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.+)$/.exec(text) ?? [];
  if (name !== undefined && value !== undefined) return [name, number(`${option} ${name}`, value)];
  throw new SgpSamError('bad-argument', `${option} '${text}' is not NAME=number`, 'Names are in capitals.');
};

const kernelTable = {
  like: required('<op:shape>', 'what it computes: matmul:ROWSxKxN', shapeOf),
  tile: required('<rowsxcolumns>', 'the part of C that a workgroup makes, for instance 64x64', tileOf),
  define: many('<NAME=number>', 'a value for the text’s $NAME (repeatable)', defineOf),
  runs: option('<n>', 'timed runs of each', whole, '15'),
  json: option('<file>', 'write the report as JSON', asIs),
  ...deviceTable,
};

function reportText({ own, ours, speedup, shape, weights, rowsChecked }: OwnKernelReport): string {
  const { rows, k, n } = shape;
  const checked = rowsChecked === rows ? 'every row' : `${rowsChecked} of ${rows} rows`;
  const table = tableOf([own, ours], ({ variant, ms, gflops, ofCeiling, error }) => [
    ['kernel', variant],
    [fixed('ms', 3), ms],
    [fixed('GFLOP/s', 1), gflops],
    ['of ceiling', `${(100 * ofCeiling).toFixed(0)} %`],
    ['error', error.toExponential(1)],
  ]);
  return `${tableText(table)}
C (${rows}, ${n}) = A (${rows}, ${k}) · B (${k}, ${n}), B as ${weights}; ${checked} against float64
${speedup.toFixed(2)}× as fast as ${ours.variant}, the median of pairs in turn
`;
}

async function kernel(file: string, options: Values<typeof kernelTable>): Promise<void> {
  const { like: shape, tile, runs } = options;
  const defines = Object.fromEntries(options.define);
  checkOutputs(outputsOf({ '--json': options.json }), [file]);
  const text = readText(file);
  const name = basename(file)
    .replace(/\.wgsl$/, '')
    .replace(/\W/g, '_');
  const bars = new ProgressBars(options.quiet);
  const report = await withEngine(options, async (engine) => {
    bars.line('measuring what the device can do');
    const ceilings = await measureCeilings(engine);
    process.stdout.write(`${adapterLine(engine.gpu.adapter)}\n`);
    try {
      return await compareOwnKernel(
        engine,
        { name: `own_${name}`, source: text, tile: () => ({ ...tile, defines }) },
        shape,
        { runs, ceilings, progress: (done, total) => bars.report({ stage: 'kernel', done, total }) },
      );
    } finally {
      bars.finish();
    }
  });
  process.stdout.write(reportText(report));
  if (options.json !== undefined) await writeOutput(options.json, `${JSON.stringify(report, null, 1)}\n`);
  // NaN is no number below the tolerance.
  if (!(report.own.error <= OWN_KERNEL_TOLERANCE))
    throw new SgpSamError(
      'bad-shader',
      `${file}: the error is ${report.own.error.toExponential(1)}, over ${OWN_KERNEL_TOLERANCE.toExponential(0)}`,
      'Its results are wrong, --tile is larger than what its text computes, or its sums are too long for float32.',
    );
}

export function addKernel(program: Command): void {
  const command = program
    .command('kernel')
    .description(
      'check a WGSL kernel of your own against float64, and time it in turn with ours (docs/kernels.md)',
    )
    .argument('<file.wgsl>', 'its text, which begins with //#include matmul_common.wgsl');
  declare(command, kernelTable).action((file: string, parsed) => kernel(file, valuesOf(kernelTable, parsed)));
}
