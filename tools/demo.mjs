/**
 * The main job, end to end: makes a volume in a real format, clicks on its lesion, segments it with the built
 * command line, and says where everything is.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makePhantom, writeFileAtomic, writeVolume } from '../dist/node.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'out', 'demo');
mkdirSync(out, { recursive: true });
const file = (name) => join(out, name);

console.log('Making a phantom head with one lesion (144 × 160 × 112 voxels, int16, oblique) ...');
const { volume, lesions } = makePhantom({ seed: 1 });
await writeFileAtomic(file('phantom.nii.gz'), writeVolume(volume, 'phantom.nii.gz'));
const point = lesions[0].voxel.map(Math.round).join(',');

const args = [
  'segment',
  file('phantom.nii.gz'),
  '--point',
  point,
  '--weights',
  'formula:sgp-tiny',
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
console.log(`
Look at out/demo/montage.png, or open phantom.nii.gz with mask.nii.gz over it in any NIfTI viewer.
No trained weights ship yet: this mask comes from formula weights and marks nothing real. It shows that the whole
path runs on this machine. For a real mask give a SAM-Med3D checkpoint: --weights sam_med3d_turbo.pth`);
