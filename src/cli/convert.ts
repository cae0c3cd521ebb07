/** `sgp-sam convert`: PyTorch checkpoints to safetensors. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SgpSamError } from '../errors.js';
import { scopeOf } from '../weights/card.js';
import { convertWeights } from '../weights/convert.js';
import { openWeightFile, writeFileChunks } from '../weights/file.node.js';
import { errorText, INTERRUPTED, tellOfWeights } from './common.js';
import { ProgressBars } from './progress.js';

/** The chunks up to an interrupt, which then ends them with an error, so that the half-written file is removed. */
async function* untilInterrupted<T>(chunks: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
  };
  process.once('SIGINT', interrupt);
  try {
    for await (const chunk of chunks) {
      if (interrupted) throw new SgpSamError('aborted', 'interrupted: nothing was written');
      yield chunk;
    }
  } finally {
    process.off('SIGINT', interrupt);
  }
}

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
      if (resolve(output) === resolve(input)) {
        throw new SgpSamError('bad-argument', `${output}: the output is the input`, 'Choose another name.');
      }
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
        const bytes = await writeFileChunks(output, untilInterrupted(chunks));
        process.stdout.write(
          `${output}: ${source.tensors.size} tensors, ${(bytes / 2 ** 20).toFixed(1)} MiB\n`,
        );
      } catch (error) {
        if (!(error instanceof SgpSamError) || error.code !== 'aborted') throw error;
        process.stderr.write(errorText(error));
        process.exitCode = INTERRUPTED;
      } finally {
        bars.finish();
        await source.close();
      }
    });
}
