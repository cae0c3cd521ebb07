/** `sgp-sam convert`: PyTorch checkpoints to safetensors. */
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { convertWeights } from '../weights/convert.js';
import { openWeightFile } from '../weights/file.node.js';
import { scope, tellOfWeights } from './common.js';
import { asIs, declare, flag, option, type Values, valuesOf } from './options.js';
import { checkOutputs, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';

const convertTable = {
  f16: flag('store floating-point tensors as float16: half the size'),
  scope: option('<json>', 'also write into them what they are for, as train --scope does', scope),
  stateDict: option('<key>', 'which of a checkpoint’s state dicts, such as state_dict_ema', asIs),
  quiet: flag('no progress', '-q, '),
};

async function convert(input: string, output: string, options: Values<typeof convertTable>): Promise<void> {
  if (!output.endsWith('.safetensors')) {
    throw new SgpSamError('bad-argument', `${output}: the output must be called something.safetensors`);
  }
  checkOutputs([{ option: 'the output', path: output }], [input]);
  const source = await openWeightFile(input, options);
  const bars = new ProgressBars(options.quiet);
  try {
    tellOfWeights(source);
    const chunks = convertWeights(source, {
      f16: options.f16,
      ...(options.scope === undefined ? {} : { metadata: { scope: options.scope } }),
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
