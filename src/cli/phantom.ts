/** `sgp-sam phantom`: a data set of synthetic volumes with labelled lesions. */
import type { Command } from 'commander';
import { writePhantomDataset } from '../phantoms/phantom.node.js';
import { contrasts } from '../phantoms/training-phantom.js';
import { numberOf, oneOf, rangeOf } from './common.js';
import { interruptible } from './interrupt.js';
import { ProgressBars } from './progress.js';

interface PhantomCommandOptions {
  cases: string;
  val: string;
  seed: string;
  size: string;
  spacing: string;
  modality: string;
  anatomy: string;
  contrast: string;
  lesions: string;
  force: boolean;
  quiet: boolean;
}

async function phantom(folder: string, options: PhantomCommandOptions): Promise<void> {
  const bars = new ProgressBars(options.quiet);
  try {
    await interruptible(async (signal) => {
      const { made, kept, lesions } = await writePhantomDataset(folder, {
        cases: numberOf('--cases', options.cases),
        validation: numberOf('--val', options.val),
        seed: numberOf('--seed', options.seed),
        size: numberOf('--size', options.size),
        spacing: numberOf('--spacing', options.spacing),
        modality: oneOf('--modality', options.modality, ['mr', 'ct', 'random'] as const),
        anatomy: oneOf('--anatomy', options.anatomy, ['head', 'body', 'random'] as const),
        contrast: oneOf('--contrast', options.contrast, contrasts),
        lesions: rangeOf('--lesions', options.lesions),
        force: options.force,
        progress: bars.report,
        say: (text) => process.stderr.write(`${text}\n`),
        signal,
      });
      bars.finish();
      const found = kept > 0 ? `, ${kept} were there already` : '';
      process.stdout.write(`${folder}: ${made} cases made with ${lesions} lesions${found}\n`);
    });
  } finally {
    bars.finish();
  }
}

export function addPhantom(program: Command): void {
  program
    .command('phantom')
    .description(
      'make a data set to train on, without anybody’s data: random anatomy on MR and CT with labelled lesions, in the ' +
        'Medical Segmentation Decathlon’s layout; the same options make the same files, and go on after an interrupt',
    )
    .argument('<out>', 'the folder to make')
    .requiredOption('--cases <n>', 'how many cases to train on')
    .option('--val <n>', 'how many more to validate with, listed apart in dataset.json', '0')
    .option('--seed <n>', 'another seed makes other cases', '1')
    .option('--size <n>', 'voxels along each axis, 16 to 320', '128')
    .option('--spacing <mm>', 'edge of a voxel', '1.5')
    .option('--modality <name>', 'mr, ct or random', 'random')
    .option('--anatomy <name>', 'head, body or random', 'random')
    .option('--contrast <which>', `lesions of contrast ${contrasts.join(', ')}; see docs/training.md`, 'any')
    .option('--lesions <n-m>', 'how many lesions a case has', '1-8')
    .option('--force', 'write into a folder that holds other files', false)
    .option('-q, --quiet', 'no progress', false)
    .action(phantom);
}
