/** `kernel`: a WGSL kernel of the user's own, checked against float64 and timed beside ours. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { systemReason } from '../base/files.node.js';
import { adapterLine } from '../engine/gpu/device.js';
import { ceilDiv } from '../engine/kernels/call.js';
import { measureCeilings } from '../engine/profiler/ceilings.js';
import {
  compareOwnKernel,
  OWN_KERNEL_TOLERANCE,
  type OwnKernelReport,
  type ProductShape,
} from '../engine/profiler/own-kernel.js';
import { columns } from '../engine/profiler/text.js';
import { collect, type DeviceOptions, deviceOptions, numberOf, wholeOf, withEngine } from './common.js';
import { checkOutputs, outputsOf, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';

interface KernelOptions extends DeviceOptions {
  like: string;
  tile: string;
  define: string[];
  runs: string;
  json?: string;
}

/** `matmul:512x768x3072` → rows, k, n. */
function shapeOf(text: string): ProductShape {
  const match = /^matmul:(\d+)x(\d+)x(\d+)$/.exec(text);
  if (!match)
    throw new SgpSamError(
      'bad-argument',
      `--like '${text}' is not matmul:ROWSxKxN`,
      'For instance: --like matmul:512x768x3072, C (512, 3072) = A (512, 768) · B (768, 3072).',
    );
  const [rows, k, n] = match.slice(1).map(Number) as [number, number, number];
  return { rows, k, n };
}

function tileOf(text: string): { rows: number; columns: number } {
  const [rows = 0, cols = 0] = (/^(\d+)x(\d+)$/.exec(text) ?? []).slice(1).map(Number);
  if (rows < 1 || cols < 1)
    throw new SgpSamError(
      'bad-argument',
      `--tile '${text}' is not ROWSxCOLUMNS`,
      'For instance: --tile 64x64',
    );
  return { rows, columns: cols };
}

function definesOf(texts: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.+)$/.exec(text) ?? [];
      if (name === undefined || value === undefined)
        throw new SgpSamError(
          'bad-argument',
          `--define '${text}' is not NAME=number`,
          'Names are in capitals.',
        );
      return [name, numberOf(`--define ${name}`, value)];
    }),
  );
}

function reportText({ own, ours, speedup, shape, weights, rowsChecked }: OwnKernelReport): string {
  const row = (side: OwnKernelReport['own']) => [
    side.variant,
    side.ms.toFixed(3),
    side.gflops.toFixed(1),
    `${(100 * side.ofCeiling).toFixed(0)} %`,
    side.error.toExponential(1),
  ];
  const { rows, k, n } = shape;
  const checked = rowsChecked === rows ? 'every row' : `${rowsChecked} of ${rows} rows`;
  return `${columns([['kernel', 'ms', 'GFLOP/s', 'of ceiling', 'error'], row(own), row(ours)])}
C (${rows}, ${n}) = A (${rows}, ${k}) · B (${k}, ${n}), B as ${weights}; ${checked} against float64
${speedup.toFixed(2)}× as fast as ${ours.variant}, the median of pairs in turn
`;
}

async function kernel(file: string, options: KernelOptions): Promise<void> {
  const shape = shapeOf(options.like);
  const tile = tileOf(options.tile);
  const defines = definesOf(options.define);
  const runs = wholeOf('--runs', options.runs);
  checkOutputs(outputsOf({ '--json': options.json }), [file]);
  const text = await readFile(file, 'utf8').catch((error) => {
    throw new SgpSamError('bad-file', `${file}: ${systemReason(error)}`, undefined, { cause: error });
  });
  const name = basename(file)
    .replace(/\.wgsl$/, '')
    .replace(/\W/g, '_');
  const bars = new ProgressBars(options.quiet);
  const report = await withEngine(options, async (engine) => {
    bars.line('measuring what the device can do');
    const ceilings = await measureCeilings(engine);
    process.stdout.write(`${adapterLine(engine.gpu.adapter)}\n`);
    const most = engine.gpu.limits.maxComputeWorkgroupsPerDimension;
    const fits = ceilDiv(shape.rows, tile.rows) <= most && ceilDiv(shape.n, tile.columns) <= most;
    if (!fits)
      throw new SgpSamError('bad-argument', `--tile ${options.tile} makes more than ${most} workgroups`);
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
      'Its results are wrong, or its sums too long for float32.',
    );
}

export function addKernel(program: Command): void {
  const command = program
    .command('kernel')
    .description(
      'check a WGSL kernel of your own against float64, and time it in turn with ours (docs/kernels.md)',
    )
    .argument('<file.wgsl>', 'its text, which begins with //#include matmul_common.wgsl')
    .requiredOption('--like <op:shape>', 'what it computes: matmul:ROWSxKxN')
    .requiredOption('--tile <rowsxcolumns>', 'the part of C that a workgroup makes, for instance 64x64')
    .option('--define <NAME=number>', 'a value for the text’s $NAME (repeatable)', collect, [])
    .option('--runs <n>', 'timed runs of each', '15')
    .option('--json <file>', 'write the report as JSON');
  deviceOptions(command).action(kernel);
}
