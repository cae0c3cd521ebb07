/** `sgp-sam convert`: PyTorch checkpoints to safetensors. */
import type { Command } from 'commander';
import { SgpSamError } from '../base/errors.js';
import { scopeOf } from '../weights/card.js';
import { convertWeights } from '../weights/convert.js';
import { openWeightFile } from '../weights/file.node.js';
import { tellOfWeights } from './common.js';
import { checkOutputs, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';

interface ConvertOptions {
  f16: boolean;
  scope?: string;
  stateDict?: string;
  quiet: boolean;
}

export function addConvert(program: Command): void {
  program
    .command('convert')
    .description(
      'convert a PyTorch checkpoint (.pth) or safetensors file to safetensors; nothing in it is executed',
    )
    .argument('<in>', 'the .pth or .safetensors file')
    .argument('<out>', 'the .safetensors file to write')
    .option('--f16', 'store floating-point tensors as float16: half the size', false)
    .option('--scope <json>', 'also write into them what they are for, as train --scope does')
    .option('--state-dict <key>', 'which of a checkpoint’s state dicts, such as state_dict_ema')
    .option('-q, --quiet', 'no progress', false)
    .action(async (input: string, output: string, options: ConvertOptions) => {
      if (!output.endsWith('.safetensors')) {
        throw new SgpSamError('bad-argument', `${output}: the output must be called something.safetensors`);
      }
      checkOutputs([{ option: 'the output', path: output }], [input]);
      const { scope } = options;
      if (scope !== undefined) scopeOf('--scope', scope);
      const source = await openWeightFile(input, options);
      const bars = new ProgressBars(options.quiet);
      try {
        tellOfWeights(source);
        const chunks = convertWeights(source, {
          f16: options.f16,
          ...(scope === undefined ? {} : { metadata: { scope } }),
          progress: bars.report,
        });
        const bytes = await writeOutput(output, chunks);
        process.stdout.write(
          `${output}: ${source.tensors.size} tensors, ${(bytes / 2 ** 20).toFixed(1)} MiB\n`,
        );
      } finally {
        bars.finish();
        await source.close();
      }
    });
}
