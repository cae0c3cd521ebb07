/**
 * weights-data.mjs DATA STS OMS OUT [LIDC]: a folder to train weights from that may ship. It links what DATA's lesions.json lists and may
 * train, in its order (so that the same subjects validate), and adds further images of the same subjects, which DATA leaves out, from
 * checkouts of the repositories that its own are from:
 *
 * - STS: ibsi_validation of github.com/theibsi/data_sets at 6da96021bc91faf4c0cb7fd7fa56a4225d2064a8, CC BY 3.0;
 * - OMS: github.com/muschellij2/open_ms_data at 65704901f60650824565aa5a4818611aa89716f4, CC BY 4.0.
 * - LIDC: data/VOIs of github.com/PabloLION/ct-slicing at 07d32abf6d8b8f1c61a0dccb685affa29b1512af: 994 lung nodules of LIDC-IDRI on CT,
 *   cut out of their scans, CC BY 3.0. They go to lists of their own: lidc.json, and lidc-held.json of the subjects from 0950 on.
 *
 * Subjects that DATA does not list are left alone in the first two, since others may be tested on them; so is what it marks `test`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readVolumeFile, writeFileAtomic, writeMask } from '../dist/node.js';
import { load } from './load.mjs';

/** LIDC's subjects from this number on are for choosing between weights, not for training them. */
const FIRST_HELD_SUBJECT = 950;
const NODULE_FOLDERS = { image: 'image', mask: 'nodule_mask' };
const [data, sts, oms, out, lidc] = process.argv.slice(2).map((path) => resolve(path));
if (!out) throw new Error('usage: weights-data.mjs DATA STS OMS OUT [LIDC]');
const { affineFromRows, applyAffine, invertAffine, multiplyAffine, voxelSizes } =
  await load('src/imaging/affine.ts');
const { components } = await load('src/imaging/components.ts');
const list = JSON.parse(readFileSync(join(data, 'lesions.json'), 'utf8'));
const testing = new Set(list.filter(({ use }) => use === 'test').map(({ subject }) => subject));
const training = list.filter(({ use }) => use === 'train');
const subjects = new Set(training.filter(({ kind }) => kind === 'lesion').map(({ subject }) => subject));
for (const subject of subjects) if (testing.has(subject)) throw new Error(`${subject} is on both sides`);

const nodules = lidc && (await nodulesIn(lidc));

mkdirSync(out, { recursive: true });
/** A file or folder at a name of the new folder's. */
function link(to, name) {
  const path = join(out, name);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  symlinkSync(to, path);
  return name;
}
for (const { name } of readdirSync(data, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
  link(join(data, name), name);

const added = [];
const has = (subject, channel) =>
  training.some((entry) => entry.subject === subject && entry.channel === channel);

// Sarcomas: DATA has those files under 4 MiB with a good contrast. The larger images are there as DICOM series.
for (const subject of [...subjects].filter((name) => name.startsWith('STS_')).sort()) {
  for (const [kind, modality, channel] of [
    ['CT', 'CT', 'CT'],
    ['MR_T1', 'MR', 'T1'],
    ['PET', 'PET', 'FDG SUV'],
  ]) {
    if (has(subject, channel)) continue;
    const nifti = join(sts, 'nifti', subject, `${kind}_image.nii.gz`);
    const image = existsSync(nifti) ? nifti : join(sts, 'dicom', subject, kind, 'image');
    const label = join(sts, 'nifti', subject, `${kind}_mask.nii.gz`);
    if (!existsSync(image) || !existsSync(label)) continue;
    const name = `sts_more/${subject}_${kind}`;
    added.push({
      image: link(image, `${name}_image${image === nifti ? '.nii.gz' : ''}`),
      label: link(label, `${name}_mask.nii.gz`),
      value: '>0',
      channel,
      modality,
      organ: 'limb soft tissue',
      licence: 'CC BY 3.0',
      kind: 'lesion',
      subject,
      use: 'train',
    });
  }
}

// MS: lesions that changed between two visits, drawn on a grid between both, carried to other images of the visits.
for (const subject of [...subjects].filter((name) => name.startsWith('oms_lg')).sort()) {
  const patient = subject.replace('oms_lg', 'patient');
  const raw = join(oms, 'longitudinal', 'raw', patient);
  const common = join(oms, 'longitudinal', 'coregistered', patient);
  const truth = await readVolumeFile(join(common, 'gt.nii.gz'));
  for (const study of ['study1', 'study2']) {
    for (const channel of ['FLAIR', 'T2W']) {
      const file = join(raw, `${study}_${channel}.nii.gz`);
      const short = patient.replace('atient', '');
      if (!existsSync(file) || existsSync(join(data, 'open_ms_long', `${short}_${study}_${channel}.nii.gz`)))
        continue;
      const image = await readVolumeFile(file);
      const transform = readFileSync(join(common, `${study}_FLAIR_to_common_space.txt`), 'utf8');
      const mask = bright(image, carried(truth, image, itkAffine(transform)));
      const lesions = mask.reduce((sum, v) => sum + v, 0);
      if (lesions === 0) continue;
      const name = `oms_more/${short}_${study}_${channel}`;
      link(file, `${name}.nii.gz`);
      await writeFileAtomic(join(out, `${name}_gt.nii.gz`), writeMask(image, mask, 'gt.nii.gz'));
      added.push({
        image: `${name}.nii.gz`,
        label: `${name}_gt.nii.gz`,
        value: 1,
        channel: channel.replace('W', ''),
        modality: 'MR',
        organ: 'brain',
        licence: 'CC BY 4.0',
        kind: 'lesion',
        subject,
        use: 'train',
      });
    }
  }
}
const all = [...training, ...added];
const write = (name, entries) => writeFileAtomic(join(out, name), `${JSON.stringify(entries, null, 1)}\n`);
await write('lesions.json', all);
// For a source of their own: the brain's are few among the others.
await write(
  'brain.json',
  all.filter(({ kind, organ }) => kind === 'lesion' && organ === 'brain'),
);

if (nodules) {
  for (const [name, folder] of Object.entries(NODULE_FOLDERS)) link(join(lidc, folder), `lidc/${name}`);
  const number = ({ subject }) => Number(subject.slice(-4));
  const held = nodules.filter((nodule) => number(nodule) >= FIRST_HELD_SUBJECT);
  const others = nodules.filter((nodule) => number(nodule) < FIRST_HELD_SUBJECT);
  await write('lidc.json', others);
  await write('lidc-held.json', held);
  console.log(`${nodules.length} nodules, ${held.length} of them held out`);
}
for (const { image, subject } of added) console.log(`${subject}: ${image}`);
console.log(
  `${training.filter(({ kind }) => kind === 'lesion').length} images with lesions, and ${added.length} more`,
);

/**
 * Nodules with an image and a mask, cut out no closer than 6 mm along any axis and with 150 mm³ above 0 HU: of less there is nothing to
 * normalise by.
 */
async function nodulesIn(folder) {
  const [images, masks] = Object.values(NODULE_FOLDERS).map((kind) => readdirSync(join(folder, kind)));
  const found = [];
  for (const name of images.filter((name) => masks.includes(name)).sort()) {
    const subject = name.match(/^(LIDC-IDRI-\d{4})_.*\.nii\.gz$/)?.[1];
    if (!subject) throw new Error(`${join(folder, NODULE_FOLDERS.image, name)}: no LIDC-IDRI-NNNN_….nii.gz`);
    const { dims, affine, data } = await readVolumeFile(join(folder, NODULE_FOLDERS.image, name));
    const sizes = voxelSizes(affine);
    const solid = data.reduce((count, value) => count + (value > 0 ? 1 : 0), 0);
    if (sizes.some((mm, axis) => mm * dims[axis] < 6) || solid * sizes[0] * sizes[1] * sizes[2] < 150)
      continue;
    found.push({
      image: `lidc/image/${name}`,
      label: `lidc/mask/${name}`,
      value: '>0',
      channel: 'CT',
      modality: 'CT',
      organ: 'lung',
      licence: 'CC BY 3.0',
      kind: 'lesion',
      subject,
      use: 'train',
    });
  }
  return found;
}

/** ITK's affine, a map of the world in LPS, as one in RAS: from the common grid to an image of a visit. */
function itkAffine(text) {
  const numbers = (name) =>
    text
      .match(new RegExp(`^${name}: (.*)$`, 'm'))[1]
      .trim()
      .split(/\s+/)
      .map(Number);
  const [parameters, centre] = [numbers('Parameters'), numbers('FixedParameters')];
  const rows = [0, 1, 2].flatMap((row) => {
    const m = parameters.slice(3 * row, 3 * row + 3);
    const about = m.reduce((sum, v, axis) => sum + v * centre[axis], 0);
    return [...m, parameters[9 + row] + centre[row] - about];
  });
  const flip = affineFromRows([-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0]);
  return multiplyAffine(flip, multiplyAffine(affineFromRows(rows), flip));
}

/** A mask on an image's grid: 1 where more than half of the truth's linear interpolation is. */
function carried(truth, image, toImage) {
  const toTruth = multiplyAffine(invertAffine(multiplyAffine(toImage, truth.affine)), image.affine);
  const [ni, nj, nk] = image.dims;
  const [ti, tj, tk] = truth.dims;
  const at = (i, j, k) =>
    i >= 0 && j >= 0 && k >= 0 && i < ti && j < tj && k < tk && truth.data[i + ti * (j + tj * k)] > 0 ? 1 : 0;
  const mask = new Uint8Array(ni * nj * nk);
  for (let k = 0, n = 0; k < nk; k++)
    for (let j = 0; j < nj; j++)
      for (let i = 0; i < ni; i++, n++) {
        const v = applyAffine(toTruth, [i, j, k]);
        const low = v.map(Math.floor);
        let sum = 0;
        for (let corner = 0; corner < 8; corner++) {
          const up = [corner & 1, (corner >> 1) & 1, corner >> 2];
          const weight = up.reduce(
            (w, u, axis) => w * (u ? v[axis] - low[axis] : 1 - v[axis] + low[axis]),
            1,
          );
          if (weight > 0) sum += weight * at(low[0] + up[0], low[1] + up[1], low[2] + up[2]);
        }
        if (sum > 0.5) mask[n] = 1;
      }
  return mask;
}

/**
 * The connected parts of at least 0.015 mL that are brighter than the 3 mm around them by more than 0.7 of their standard deviation: a
 * lesion that came between two visits is not to be seen at the first. The rule by which DATA's own masks of these were made.
 */
function bright(image, mask) {
  const [ni, nj, nk] = image.dims;
  const spacing = voxelSizes(image.affine);
  const reach = spacing.map((mm) => Math.max(1, Math.round(3 / mm)));
  const { labels, sizes } = components(mask, image.dims);
  const parts = sizes.map(() => []);
  for (const [n, label] of labels.entries()) if (label > 0) parts[label - 1].push(n);
  const kept = new Uint8Array(mask.length);
  for (const part of parts) {
    if ((part.length * spacing[0] * spacing[1] * spacing[2]) / 1000 < 0.015) continue;
    const shell = new Set();
    for (const n of part) {
      const [i, j, k] = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))];
      for (let z = Math.max(0, k - reach[2]); z <= Math.min(nk - 1, k + reach[2]); z++)
        for (let y = Math.max(0, j - reach[1]); y <= Math.min(nj - 1, j + reach[1]); y++)
          for (let x = Math.max(0, i - reach[0]); x <= Math.min(ni - 1, i + reach[0]); x++) {
            const other = x + ni * (y + nj * z);
            if (!mask[other]) shell.add(other);
          }
    }
    const values = [...shell].map((n) => image.data[n]);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const sd = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    const inside = part.reduce((sum, n) => sum + image.data[n], 0) / part.length;
    if (inside - mean > 0.7 * sd) for (const n of part) kept[n] = 1;
  }
  return kept;
}
