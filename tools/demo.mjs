/**
 * The main job, end to end: makes a volume in a real format, clicks on its lesion, segments it with the built
 * command line, and says where everything is.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makePhantom, readNiftiFile, writeFileAtomic, writeVolume } from '../dist/node.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'out', 'demo');
mkdirSync(out, { recursive: true });
const file = (name) => join(out, name);

console.log('Making a phantom head with one lesion (144 × 160 × 112 voxels, int16, oblique) ...');
const { volume, label, lesions } = makePhantom({ seed: 1 });
await writeFileAtomic(file('phantom.nii.gz'), writeVolume(volume, 'phantom.nii.gz'));
const point = lesions[0].voxel.map(Math.round).join(',');

const args = [
  'segment',
  file('phantom.nii.gz'),
  '--point',
  point,
  '--output',
  file('mask.nii.gz'),
  '--report',
  file('report.json'),
  '--png',
  file('montage.png'),
];
console.log(`\n$ sgp-sam ${args.map((arg) => arg.replace(`${root}`, '')).join(' ')}`);
const { status } = spawnSync(process.execPath, [join(root, 'dist', 'cli.js'), ...args], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
const { data } = await readNiftiFile(file('mask.nii.gz'));
let both = 0;
let sum = 0;
for (let n = 0; n < label.length; n++) {
  const truth = label[n] === 1 ? 1 : 0;
  both += truth * data[n];
  sum += truth + data[n];
}
console.log(`
Dice with the lesion that was put there: ${((2 * both) / sum).toFixed(3)} (1 is perfect), after one click.
Look at out/demo/montage.png, or open phantom.nii.gz with mask.nii.gz over it in any NIfTI viewer.`);
