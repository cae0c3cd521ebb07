/** The `sgp-sam` command. */
import { Command, CommanderError } from 'commander';
import { addAblate } from './ablate.js';
import { errorText, featuresOf, featuresOption } from './common.js';
import { addCompare } from './compare.js';
import { addConvert } from './convert.js';
import { doctor } from './doctor.js';
import { addEval } from './eval.js';
import { endOnSignals, outliveReaders } from './interrupt.js';
import { addKernel } from './kernel.js';
import { addMerge } from './merge.js';
import { addParity } from './parity.js';
import { addPhantom } from './phantom.js';
import { addProfile } from './profile.js';
import { addSegment } from './segment.js';
import { addTrain } from './train.js';
import { addTune } from './tune.js';

function build(): Command {
  const program = new Command('sgp-sam')
    .description(
      'promptable 3D lesion segmentation (SAM-Med3D, SGP-SAM) on WebGPU. Research software, not a medical device.',
    )
    .version(__VERSION__)
    .showHelpAfterError('(sgp-sam --help lists the commands)')
    .exitOverride();
  addSegment(program);
  addParity(program);
  addConvert(program);
  addPhantom(program);
  addTrain(program);
  addEval(program);
  addMerge(program);
  addCompare(program);
  addAblate(program);
  addProfile(program);
  addTune(program);
  addKernel(program);
  const examine = program
    .command('doctor')
    .description(
      'list the WebGPU adapters of this machine, prove that they compute, and say how to get a better one',
    )
    .option('--json', 'print JSON', false);
  featuresOption(examine).action(async (options: { json: boolean; features: string }) => {
    const write = (text: string) => process.stdout.write(text);
    process.exitCode = await doctor({ json: options.json, features: featuresOf(options), write });
  });
  for (const command of program.commands) command.exitOverride();
  return program;
}

endOnSignals();
outliveReaders();

try {
  await build().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed what it had to say; help and version are no failures.
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(errorText(error));
    process.exitCode = 1;
  }
}
