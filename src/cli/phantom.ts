/** `sgp-sam phantom`: a data set of synthetic volumes with labelled lesions. */
import type { Command } from 'commander';
import { writePhantomDataset } from '../phantoms/phantom.node.js';
import { contrasts } from '../phantoms/training-phantom.js';
import { interruptible } from './interrupt.js';
import { declare, flag, number, oneOf, option, range, required, type Values, valuesOf } from './options.js';
import { ProgressBars } from './progress.js';

const phantomTable = {
  cases: required('<n>', 'how many cases to train on', number),
  val: option('<n>', 'how many more to validate with, listed apart in dataset.json', number, '0'),
  seed: option('<n>', 'another seed makes other cases', number, '1'),
  size: option('<n>', 'voxels along each axis, 16 to 320', number, '128'),
  spacing: option('<mm>', 'edge of a voxel', number, '1.5'),
  modality: option('<name>', 'mr, ct or random', oneOf(['mr', 'ct', 'random']), 'random'),
  anatomy: option('<name>', 'head, body or random', oneOf(['head', 'body', 'random']), 'random'),
  contrast: option(
    '<which>',
    `lesions of contrast ${contrasts.join(', ')}; see docs/training.md`,
    oneOf(contrasts),
    'any',
  ),
  lesions: option('<n-m>', 'how many lesions a case has', range, '1-8'),
  force: flag('write into a folder that holds other files'),
  quiet: flag('no progress', '-q, '),
};

async function phantom(folder: string, options: Values<typeof phantomTable>): Promise<void> {
  const { val: validation, quiet, ...shape } = options;
  const bars = new ProgressBars(quiet);
  try {
    await interruptible(async (signal) => {
      const { made, kept, lesions } = await writePhantomDataset(folder, {
        ...shape,
        validation,
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
  const command = program
    .command('phantom')
    .description(
      'make a data set to train on, without anybody’s data: random anatomy on MR and CT with labelled lesions, in the ' +
        'Medical Segmentation Decathlon’s layout; the same options make the same files, and go on after an interrupt',
    )
    .argument('<out>', 'the folder to make');
  declare(command, phantomTable).action((folder, parsed) => phantom(folder, valuesOf(phantomTable, parsed)));
}
