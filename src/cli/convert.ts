/** `sgp-sam convert`: PyTorch checkpoints to safetensors. */
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { risingFit } from '../imaging/metrics/statistics.js';
import { convertWeights } from '../weights/convert.js';
import { openWeightFile } from '../weights/file.node.js';
import { readResults, resultsFile, scope, tellOfWeights } from './common.js';
import { asIs, declare, flag, oneOf, option, type Values, valuesOf } from './options.js';
import { checkOutputs, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';

const convertTable = {
  f16: flag('store floating-point tensors as float16: half the size'),
  scope: option('<json>', 'also write into them what they are for, as train --scope does', scope),
  zoom: option(
    '<how>',
    'also write into them whether lesions are looked for at their own scale',
    oneOf(['auto', 'off']),
  ),
  calibration: option(
    '<results>',
    'also write into them how a mask’s IoU follows from its mean probability, as what eval wrote shows',
    asIs,
  ),
  stateDict: option('<key>', 'which of a checkpoint’s state dicts, such as state_dict_ema', asIs),
  quiet: flag('no progress', '-q, '),
};

/** A calibration, by the first click on each lesion of an evaluation. */
function calibrationFrom(path: string): string {
  const pairs = readResults(path).cases.flatMap(({ lesions }) =>
    lesions.flatMap(({ probability, iou }): [number, number][] =>
      probability ? [[probability[0], iou[0]]] : [],
    ),
  );
  try {
    // As they are: rounded, two knots may become one, which the file's reader refuses.
    return JSON.stringify(risingFit(pairs));
  } catch (error) {
    if (!(error instanceof SgpSamError)) throw error;
    throw new SgpSamError(error.code, `--calibration ${path}: ${error.message}`, 'Evaluate more lesions.');
  }
}

async function convert(input: string, output: string, options: Values<typeof convertTable>): Promise<void> {
  if (!output.endsWith('.safetensors')) {
    throw new SgpSamError('bad-argument', `${output}: the output must be called something.safetensors`);
  }
  const given = options.calibration === undefined ? [] : [resultsFile(options.calibration)];
  checkOutputs([{ option: 'the output', path: output }], [input, ...given]);
  const source = await openWeightFile(input, options);
  const bars = new ProgressBars(options.quiet);
  try {
    tellOfWeights(source);
    const chunks = convertWeights(source, {
      f16: options.f16,
      metadata: {
        ...(options.scope === undefined ? {} : { scope: options.scope }),
        ...(options.zoom === undefined ? {} : { zoom: options.zoom }),
        ...(options.calibration === undefined ? {} : { calibration: calibrationFrom(options.calibration) }),
      },
      progress: bars.report,
    });
    const bytes = await writeOutput(output, chunks);
    process.stdout.write(`${output}: ${source.tensors.size} tensors, ${(bytes / 2 ** 20).toFixed(1)} MiB\n`);
  } finally {
    bars.finish();
    await source.close();
  }
}

export function addConvert(program: Command): void {
  const command = program
    .command('convert')
    .description(
      'convert a PyTorch checkpoint (.pth) or safetensors file to safetensors; nothing in it is executed',
    )
    .argument('<in>', 'the .pth or .safetensors file')
    .argument('<out>', 'the .safetensors file to write');
  declare(command, convertTable).action((input, output, parsed) =>
    convert(input, output, valuesOf(convertTable, parsed)),
  );
}
