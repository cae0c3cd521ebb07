/**
 * weights-data.mjs DATA STS OMS OUT: the folder that the shipped weights are trained from. It links what DATA's lesions.json lists and may
 * train, in its order (so that the same subjects validate), and adds further images of the same subjects, which DATA leaves out, from
 * checkouts of the repositories that its own are from:
 *
 * - STS: ibsi_validation of github.com/theibsi/data_sets at 6da96021bc91faf4c0cb7fd7fa56a4225d2064a8, CC BY 3.0;
 * - OMS: github.com/muschellij2/open_ms_data at 65704901f60650824565aa5a4818611aa89716f4, CC BY 4.0.
 *
 * Subjects that DATA does not list are left alone, since others may be tested on them; so is what it marks `test`.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readVolumeFile, writeFileAtomic, writeMask } from '../dist/node.js';

const [data, sts, oms, out] = process.argv.slice(2).map((path) => resolve(path));
if (!out) throw new Error('usage: weights-data.mjs DATA STS OMS OUT');
const list = JSON.parse(readFileSync(join(data, 'lesions.json'), 'utf8'));
const testing = new Set(list.filter(({ use }) => use === 'test').map(({ subject }) => subject));
const training = list.filter(({ use }) => use === 'train');
const subjects = new Set(training.filter(({ kind }) => kind === 'lesion').map(({ subject }) => subject));
for (const subject of subjects) if (testing.has(subject)) throw new Error(`${subject} is on both sides`);

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
for (const [subject, patient] of [
  ['oms_lg01', 'patient01'],
  ['oms_lg03', 'patient03'],
  ['oms_lg09', 'patient09'],
]) {
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
      const toCommon = inverted(readFileSync(join(common, `${study}_FLAIR_to_common_space.txt`), 'utf8'));
      const mask = bright(image, carried(truth, image, toCommon));
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
for (const { image, subject } of added) console.log(`${subject}: ${image}`);
console.log(
  `${training.filter(({ kind }) => kind === 'lesion').length} images with lesions, and ${added.length} more`,
);

/** What brings a point of the world (RAS) from an image of a visit to the common grid: ITK's affine goes the other way, in LPS. */
function inverted(text) {
  const numbers = (name) =>
    text
      .match(new RegExp(`^${name}: (.*)$`, 'm'))[1]
      .trim()
      .split(/\s+/)
      .map(Number);
  const parameters = numbers('Parameters');
  const m = [0, 3, 6].map((n) => parameters.slice(n, n + 3));
  const t = parameters.slice(9);
  const c = numbers('FixedParameters');
  const back = inverse(m);
  return ([x, y, z]) => {
    const away = [-x, -y, z].map((v, n) => v - c[n] - t[n]);
    const [a, b, d] = back.map((row, n) => row[0] * away[0] + row[1] * away[1] + row[2] * away[2] + c[n]);
    return [-a, -b, d];
  };
}

function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((v) => v / det));
}

/** A mask on an image's grid: 1 where more than half of the truth's linear interpolation is. */
function carried(truth, image, toCommon) {
  const m = image.affine;
  const a = truth.affine;
  const back = inverse([0, 4, 8].map((n) => [a[n], a[n + 1], a[n + 2]]));
  const [ni, nj, nk] = image.dims;
  const [ti, tj, tk] = truth.dims;
  const at = (i, j, k) =>
    i < 0 || j < 0 || k < 0 || i >= ti || j >= tj || k >= tk
      ? 0
      : truth.data[i + ti * (j + tj * k)] > 0
        ? 1
        : 0;
  const mask = new Uint8Array(ni * nj * nk);
  for (let k = 0, n = 0; k < nk; k++)
    for (let j = 0; j < nj; j++)
      for (let i = 0; i < ni; i++, n++) {
        const world = [0, 4, 8].map((row) => m[row] * i + m[row + 1] * j + m[row + 2] * k + m[row + 3]);
        const p = toCommon(world).map((v, axis) => v - a[4 * axis + 3]);
        const v = back.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
        const low = v.map(Math.floor);
        let sum = 0;
        for (let corner = 0; corner < 8; corner++) {
          const d = [corner & 1, (corner >> 1) & 1, corner >> 2];
          const weight = d.reduce(
            (w, up, axis) => w * (up ? v[axis] - low[axis] : 1 - v[axis] + low[axis]),
            1,
          );
          if (weight > 0) sum += weight * at(low[0] + d[0], low[1] + d[1], low[2] + d[2]);
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
  const sizes = [0, 1, 2].map((n) => Math.hypot(image.affine[n], image.affine[n + 4], image.affine[n + 8]));
  const reach = sizes.map((mm) => Math.max(1, Math.round(3 / mm)));
  const around = (n, by, visit) => {
    const [i, j, k] = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))];
    for (let z = Math.max(0, k - by[2]); z <= Math.min(nk - 1, k + by[2]); z++)
      for (let y = Math.max(0, j - by[1]); y <= Math.min(nj - 1, j + by[1]); y++)
        for (let x = Math.max(0, i - by[0]); x <= Math.min(ni - 1, i + by[0]); x++)
          visit(x + ni * (y + nj * z));
  };
  const kept = new Uint8Array(mask.length);
  const seen = new Uint8Array(mask.length);
  for (let first = 0; first < mask.length; first++) {
    if (!mask[first] || seen[first]) continue;
    const part = [first];
    seen[first] = 1;
    for (let n = 0; n < part.length; n++)
      around(part[n], [1, 1, 1], (other) => {
        if (!mask[other] || seen[other]) return;
        seen[other] = 1;
        part.push(other);
      });
    if ((part.length * sizes[0] * sizes[1] * sizes[2]) / 1000 < 0.015) continue;
    const shell = new Set();
    for (const n of part) around(n, reach, (other) => mask[other] || shell.add(other));
    const values = [...shell].map((n) => image.data[n]);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const sd = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    const inside = part.reduce((sum, n) => sum + image.data[n], 0) / part.length;
    if (inside - mean > 0.7 * sd) for (const n of part) kept[n] = 1;
  }
  return kept;
}
