import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { components } from '../../src/imaging/components.js';
import {
  channelNumber,
  isLabelName,
  labelValues,
  pairByNames,
  parseDatasetJson,
} from '../../src/imaging/dataset.js';
import { labelValuesIn, readCase, readDecathlon } from '../../src/imaging/dataset.node.js';
import { gzip } from '../../src/imaging/gzip.js';
import { expectError, type FileSpec, niftiFile, sharedFile } from './support.js';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'sgp-sam-dataset-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let made = 0;
/** A folder of files: NIfTI ones from a spec, others from a text or a value for JSON. */
async function folderOf(files: Record<string, FileSpec | string | { json: unknown }>): Promise<string> {
  const folder = path.join(root, `set${made++}`);
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    if (typeof content === 'string') await writeFile(file, content);
    else if ('json' in content) await writeFile(file, JSON.stringify(content.json));
    else await writeFile(file, name.endsWith('.gz') ? gzip(niftiFile(content)) : niftiFile(content));
  }
  return folder;
}

const image: FileSpec = { datatype: 'int16' };
const labelled = (values: Record<number, number>, more: FileSpec = {}): FileSpec => ({
  datatype: 'uint8',
  values: Array.from({ length: 60 }, (_, n) => values[n] ?? 0),
  ...more,
});
const label = labelled({ 3: 1, 4: 1, 30: 2 });

describe('dataset.json', () => {
  test('as the Decathlon writes it', () => {
    const set = parseDatasetJson(
      `\uFEFF${JSON.stringify({
        name: 'Liver',
        modality: { '0': 'CT' },
        labels: { '0': 'background', '2': 'cancer', '1': 'liver' },
        training: [{ image: './imagesTr/a.nii.gz', label: './labelsTr/a.nii.gz' }],
        test: ['./imagesTs/b.nii.gz'],
      })}`,
    );
    expect(set).toEqual({
      name: 'Liver',
      channels: ['CT'],
      labels: [
        { name: 'liver', values: [1] },
        { name: 'cancer', values: [2] },
      ],
      training: [
        {
          id: 'a',
          image: 'imagesTr/a.nii.gz',
          images: ['imagesTr/a.nii.gz'],
          label: 'labelsTr/a.nii.gz',
        },
      ],
      validation: [],
    });
  });

  test('as nnU-Net, MONAI and people write it', () => {
    const nnunet = parseDatasetJson(
      JSON.stringify({
        channel_names: { '0': 'T1', '1': 'FLAIR' },
        labels: { background: 0, edema: 1, 'whole tumor': [1, '2'] },
        dataset: {
          x1: { images: ['.\\imagesTr\\x1_0000.nii.gz', 'imagesTr/x1_0001.nii.gz'], label: 'l/x1.nii.gz' },
        },
      }),
    );
    expect(nnunet.channels).toEqual(['T1', 'FLAIR']);
    expect(nnunet.labels).toEqual([
      { name: 'edema', values: [1] },
      { name: 'whole tumor', values: [1, 2] },
    ]);
    expect(nnunet.training[0]).toEqual({
      id: 'x1',
      image: 'imagesTr/x1_0000.nii.gz',
      images: ['imagesTr/x1_0000.nii.gz', 'imagesTr/x1_0001.nii.gz'],
      label: 'l/x1.nii.gz',
    });
    const monai = parseDatasetJson(
      JSON.stringify({
        training: [
          { image: ['s1/flair.nii', 's1/t1.nii'], label: 's1/seg.nii', fold: 0 },
          { image: 's2/flair.nii', label: 's2/seg.nii', fold: 1 },
        ],
        validation: ['imagesTr/v.nii.gz'],
      }),
    );
    // One name for every label file: then the folders tell cases apart.
    expect(monai.training.map(({ id }) => id)).toEqual(['s1_seg', 's2_seg']);
    expect(monai.training[0].images).toEqual(['s1/flair.nii', 's1/t1.nii']);
    expect(monai.validation[0]).toMatchObject({ id: 'v', label: 'labelsTr/v.nii.gz' });
  });

  test('channels by name and number either way round; UTF-16; keys that stand twice', async () => {
    for (const field of ['channel_names', 'modality'])
      for (const channels of [
        { T1: 0, FLAIR: 1 },
        { FLAIR: '1', T1: '0' },
        { '0': 'T1', '1': 'FLAIR' },
      ])
        expect(parseDatasetJson(JSON.stringify({ [field]: channels })).channels).toEqual(['T1', 'FLAIR']);
    await expectError(
      () => parseDatasetJson('{"modality": {"T1": 0, "T2": 0}}', 'd.json'),
      'bad-file',
      /channel 0 has two names/,
    );
    const text = JSON.stringify({ name: 'Größe', labels: { tumor: 1 } });
    const little = Buffer.from(text, 'utf16le');
    const big = Buffer.from(little).swap16();
    for (const bytes of [
      Buffer.from(text),
      little,
      big,
      Buffer.concat([Buffer.from([0xff, 0xfe]), little]),
      Buffer.concat([Buffer.from([0xfe, 0xff]), big]),
      Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]),
    ])
      expect(parseDatasetJson(bytes).name).toBe('Größe');
    await expectError(
      () => parseDatasetJson(Buffer.from('{"name": "Gr\xf6\xdfe"}', 'latin1'), 'd.json'),
      'bad-file',
      /d\.json is neither UTF-8 nor UTF-16/,
    );
    await expectError(
      () => parseDatasetJson('{"labels": {"a": 1}, "labels": {"a": 2}}', 'd.json'),
      'bad-file',
      /lists 'labels' twice/,
    );
    await expectError(
      () => parseDatasetJson('{"name": "\\u0061", "n\\u0061me": ""}'),
      'bad-file',
      /'name' twice/,
    );
  });

  test('a region of very many values is no stack overflow', () => {
    const values = Array.from({ length: 300_000 }, (_, n) => n + 1);
    expect(parseDatasetJson(JSON.stringify({ labels: { all: values, one: 7 } })).labels).toHaveLength(2);
  });

  test('with errors that name the field', async () => {
    const fails = (json: unknown, ...says: RegExp[]) =>
      expectError(
        () => parseDatasetJson(typeof json === 'string' ? json : JSON.stringify(json), 'd.json'),
        'bad-file',
        ...says,
      );
    await fails('{', /d\.json is not JSON/);
    await fails([], /d\.json/);
    await fails({ labels: ['a'] }, /labels/);
    await fails({ labels: { edema: 'one' } }, /labels/, /"edema": "one"/);
    await fails({ labels: { edema: [] } }, /labels/);
    await fails({ modality: { first: 'CT' } }, /modality/, /first/);
    await fails({ training: 7 }, /training/);
    await fails({ training: [{ label: 'x.nii' }] }, /training\[0\]/, /image/);
    await fails({ training: [{ image: [] }] }, /training\[0\]/);
    await fails({ training: ['a/x.nii'] }, /has no label/);
  });

  test('labels and channels by name and number', async () => {
    const set = { ...parseDatasetJson('{}'), name: 'S', channels: ['FLAIR', 't1gd'] };
    const labels = [
      { name: 'edema', values: [1] },
      { name: 'enhancing tumour', values: [3] },
      { name: 'whole', values: [1, 3] },
    ];
    expect(labelValues({ ...set, labels }, 'Enhancing_Tumour')).toEqual([3]);
    expect(labelValues({ ...set, labels }, '3')).toEqual([3]);
    expect(labelValues({ ...set, labels }, 1)).toEqual([1]);
    expect(labelValues({ ...set, labels }, 'whole')).toEqual([1, 3]);
    expect(labelValues({ ...set, labels }, 'whole, 1')).toEqual([1, 3]);
    expect(() => labelValues({ ...set, labels }, '1,9')).toThrow(/no label "9"/);
    await expectError(
      () => labelValues({ ...set, labels }, 'core'),
      'bad-argument',
      /"core"/,
      /3 \(enhancing/,
    );
    await expectError(() => labelValues({ ...set, labels }, 2), 'bad-argument', /no label 2/);
    // Without names every value above the background may be meant.
    expect(labelValues(set, 7)).toEqual([7]);
    await expectError(() => labelValues(set, 0), 'bad-argument', /no label 0/);
    await expectError(() => labelValues(set, 'lesion'), 'bad-argument', /does not name its labels/);
    expect(channelNumber(set, 'T1gd')).toBe(1);
    expect(channelNumber(set, '0')).toBe(0);
    await expectError(() => channelNumber(set, 2), 'bad-argument', /0 \(FLAIR\), 1 \(t1gd\)/);
  });
});

describe('pairs by names', () => {
  test('of equal names, of channels, of beginnings in common', () => {
    const ids = (images: string[], labels: string[]) => {
      const { cases, channels } = pairByNames(images, labels, 'f');
      return [cases.map(({ id, images: own, label: l }) => [id, own.join(), l]), channels];
    };
    expect(ids(['i/b.nii', 'i/a.nii.gz'], ['l/a.nii.gz', 'l/b.nii.gz'])).toEqual([
      [
        ['a', 'i/a.nii.gz', 'l/a.nii.gz'],
        ['b', 'i/b.nii', 'l/b.nii.gz'],
      ],
      [],
    ]);
    expect(
      ids(['c_1_0001.nii', 'c_1_0000.nii', 'c_10_0000.nii', 'c_10_0001.nii'], ['c_1.nii', 'c_10.nii']),
    ).toEqual([
      [
        ['c_1', 'c_1_0000.nii,c_1_0001.nii', 'c_1.nii'],
        ['c_10', 'c_10_0000.nii,c_10_0001.nii', 'c_10.nii'],
      ],
      [],
    ]);
    expect(
      ids(
        ['p07_t1.nii', 'p07_flair.nii', 'p1_t1.nii', 'p1_flair.nii'],
        ['p07_lesions.nii', 'p1_lesions.nii'],
      ),
    ).toEqual([
      [
        ['p07', 'p07_flair.nii,p07_t1.nii', 'p07_lesions.nii'],
        ['p1', 'p1_flair.nii,p1_t1.nii', 'p1_lesions.nii'],
      ],
      ['flair', 't1'],
    ]);
  });

  test('with what is missing named', async () => {
    await expectError(
      () => pairByNames(['x/a.nii', 'x/b.nii'], ['l/a.nii'], 'the folder'),
      'bad-file',
      /x\/b\.nii/,
    );
    await expectError(
      () => pairByNames(['a_t1.nii', 'a_t2.nii', 'b_t1.nii'], ['a_seg.nii', 'b_seg.nii'], 'f'),
      'bad-file',
      /b_seg has the images t1, and a_seg t1, t2/,
    );
    expect(pairByNames(['a.nii'], ['a.nii', 'z.nii'], 'f').lonely).toEqual(['z.nii']);
  });

  test('label names are known', () => {
    for (const name of [
      'p_lesions',
      'p-label',
      'seg',
      'p_consensus_gt',
      'x.mask',
      'a_manual_segmentation',
      'roi',
    ]) {
      expect(isLabelName(`d/${name}.nii.gz`), name).toBe(true);
    }
    for (const name of ['p_flair', 'segment_t1', 'masked_brain', 'case_0001']) {
      expect(isLabelName(`d/${name}.nii`), name).toBe(false);
    }
  });
});

describe('a folder', () => {
  test('with a dataset.json whose files moved, were packed, or have channels of their own', async () => {
    const folder = await folderOf({
      'dataset.json': {
        json: {
          labels: { lesion: 1 },
          training: [
            { image: './imagesTr/a.nii.gz', label: './labelsTr/a.nii.gz' },
            { image: './imagesTr/b.nii.gz', label: './labelsTr/b.nii.gz' },
            { image: '/old/place/imagesTr/c.nii.gz', label: '/old/place/labelsTr/c.nii.gz' },
          ],
        },
      },
      'imagesTr/a.nii': image,
      'labelsTr/a.nii.gz': label,
      'imagesTr/b_0000.nii.gz': image,
      'imagesTr/b_0001.nii.gz': { ...image, values: Array.from({ length: 60 }, (_, n) => 2 * n) },
      'labelsTr/b.nii.gz': label,
      'imagesTr/c.nii.gz': image,
      'labelsTr/c.nii.gz': label,
    });
    const set = await readDecathlon(folder);
    expect(set.training.map(({ id, images }) => [id, images.map((f) => path.relative(folder, f))])).toEqual([
      ['a', ['imagesTr/a.nii']],
      ['b', ['imagesTr/b_0000.nii.gz', 'imagesTr/b_0001.nii.gz']],
      ['c', ['imagesTr/c.nii.gz']],
    ]);
    expect(await readDecathlon(path.join(folder, 'dataset.json'))).toEqual(set);
    const read = await readCase(set.training[1], { channel: 1, label: labelValues(set, 'lesion') });
    expect(read.image.data[5]).toBe(10);
    expect([...read.mask.keys()].filter((n) => read.mask[n])).toEqual([3, 4]);
    expect(read.values).toEqual([1, 2]);
    await expectError(readCase(set.training[1], { label: 1 }), 'bad-argument', /2 channels/, /b_0001/);
    await expectError(readCase(set.training[1], { label: 1, channel: 2 }), 'bad-argument', /no channel 2/);
    const union = await readCase(set.training[0], { label: [1, 2] });
    expect(union.mask.reduce((a, b) => a + b, 0)).toBe(3);
  });

  test('without a dataset.json, and with hidden files', async () => {
    const folder = await folderOf({
      'imagesTr/a.nii.gz': image,
      'imagesTr/._a.nii.gz': 'resource fork',
      'imagesTr/.DS_Store': '',
      'labelsTr/a.nii.gz': label,
      'labelsTr/._a.nii.gz': 'resource fork',
      'labelsTr/spare.nii.gz': label,
    });
    const set = await readDecathlon(folder);
    expect(set.training.map(({ id }) => id)).toEqual(['a']);
    expect(set.lonely.map((f) => path.basename(f))).toEqual(['spare.nii.gz']);
    // nnU-Net's dataset.json lists no cases: labels come from it, cases from the names.
    await writeFile(
      path.join(folder, 'dataset.json'),
      JSON.stringify({ labels: { tumor: 2 }, numTraining: 1 }),
    );
    const described = await readDecathlon(folder);
    expect(described.training).toEqual(set.training);
    expect(labelValues(described, 'tumor')).toEqual([2]);
  });

  test('with images and labels side by side', async () => {
    const folder = await folderOf({ 'p1_flair.nii': image, 'p1_lesions.nii': label, 'notes.txt': '' });
    const set = await readDecathlon(folder);
    expect(set.training.map(({ id }) => id)).toEqual(['p1']);
    expect(set.channels).toEqual(['flair']);
  });

  test('with something missing says what', async () => {
    await expectError(readDecathlon(path.join(root, 'nowhere')), 'bad-file', /nowhere/);
    await expectError(readDecathlon(await folderOf({ 'readme.txt': '' })), 'bad-file', /holds no cases/);
    const noLabel = await folderOf({
      'imagesTr/a.nii': image,
      'imagesTr/b.nii': image,
      'labelsTr/a.nii': label,
    });
    await expectError(readDecathlon(noLabel), 'bad-file', /1 image\(s\) have no label/, /b\.nii/);
    const listed = await folderOf({
      'dataset.json': { json: { training: [{ image: 'imagesTr/a.nii', label: 'labelsTr/a.nii' }] } },
      'imagesTr/a.nii': image,
    });
    await expectError(readDecathlon(listed), 'bad-file', /labelsTr\/a\.nii/, /dataset\.json lists 1/);
  });
});

describe('label values that dataset.json does not list', () => {
  const setOf = async (spec: FileSpec) =>
    readDecathlon(
      await folderOf({
        'dataset.json': {
          json: {
            name: 'S',
            labels: { background: 0, lesion: 1 },
            training: [{ image: './imagesTr/a.nii', label: './labelsTr/a.nii' }],
          },
        },
        'imagesTr/a.nii': image,
        'labelsTr/a.nii': spec,
      }),
    );

  test('255 in the files, 1 in the list: 1 is refused with what they hold, 255 is taken and said', async () => {
    const set = await setOf(labelled({ 3: 255, 4: 255 }));
    const told: string[] = [];
    expect(await labelValuesIn(set, '1', (line) => told.push(line))).toEqual([1]);
    await expectError(
      readCase(set.training[0], { label: [1] }),
      'no-lesion',
      /no voxel of the value 1; it holds 255/,
      /whatever a dataset\.json lists/,
    );
    expect(told).toEqual([]);
    expect(await labelValuesIn(set, '255', (line) => told.push(line))).toEqual([255]);
    expect(told).toEqual(['dataset.json lists 1 (lesion), and the label volumes hold 255: 255 is taken']);
    expect((await readCase(set.training[0], { label: [255] })).mask[3]).toBe(1);
    const tell = () => expect.unreachable();
    await expectError(
      labelValuesIn(set, '7', tell),
      'bad-argument',
      /no label "7"/,
      /hold 255/,
      /1 \(lesion\)/,
    );
    await expectError(labelValuesIn(set, 'tumor', tell), 'bad-argument', /no label "tumor"/);
    await expectError(labelValuesIn(set, '0', tell), 'bad-argument');
  });

  test('scaled by scl_slope they are what the scaling makes them, and whole', async () => {
    // Stored 255 with slope 1/255 means 1; single precision makes it 1.0000000…
    for (const [stored, slope, inter, value] of [
      [255, Math.fround(1 / 255), 0, 1],
      [1, 2, 0, 2],
      [100, 0.01, 0, 1],
      [3, 1, -2, 1],
    ] as const) {
      const zero = -inter / slope;
      const set = await setOf({
        ...labelled({ 3: stored }),
        datatype: 'int16',
        values: Array.from({ length: 60 }, (_, n) => (n === 3 ? stored : zero)),
        slope,
        inter,
      });
      const { mask, values } = await readCase(set.training[0], { label: value });
      expect(values).toEqual([value]);
      expect([...mask.keys()].filter((n) => mask[n])).toEqual([3]);
    }
    const set = await setOf({ ...labelled({ 3: 1 }), slope: 0.4 });
    await expectError(
      readCase(set.training[0], { label: 1 }),
      'bad-file',
      /holds 0\.4.* at voxel .*whole numbers/,
    );
  });
});

describe('a case', () => {
  const read = async (labelSpec: FileSpec, options = {}) => {
    const folder = await folderOf({ 'imagesTr/a.nii': image, 'labelsTr/a.nii': labelSpec });
    return readCase((await readDecathlon(folder)).training[0], { label: 1, ...options });
  };

  test('whose label lies on another grid is refused, both files named', async () => {
    const both = /imagesTr\/a\.nii and labelsTr\/a\.nii/;
    await expectError(
      read({ ...label, dim: [3, 3, 5, 4] }),
      'bad-file',
      both,
      /dim is 3 × 4 × 5 .* 3 × 5 × 4/,
    );
    const moved = [2, 0, 0, -10, 0, 2, 0, -20, 0, 0, 3, -29];
    await expectError(
      read({ ...label, sform: moved }),
      'bad-file',
      both,
      /affines \(sform and sform\)/,
      /1\.00 mm/,
    );
    const flipped = [-2, 0, 0, -6, 0, 2, 0, -20, 0, 0, 3, -30];
    await expectError(read({ ...label, sform: flipped }), 'bad-file', both, /apart/);
    // Rounding in another program's header is no other grid.
    const rounded = [2.0004, 0, 0, -10.02, 0, 2, 0, -20, 0, 0, 2.9996, -30];
    expect((await read({ ...label, sform: rounded })).mask[3]).toBe(1);
  });

  test('whose label holds fractions is refused, rounding apart', async () => {
    const float = (v: number): FileSpec => ({ ...labelled({ 7: v }), datatype: 'float32' });
    expect((await read(float(1.000_000_1))).mask[7]).toBe(1);
    expect((await read(float(0.9997))).mask[7]).toBe(1);
    await expectError(read(float(0.4)), 'bad-file', /0\.4/, /voxel \(1, 2, 0\)/, /whole numbers/);
    // Stored as 255 with a scale of 1/255, as some programs do.
    expect((await read(labelled({ 7: 255 }, { slope: 1 / 255 }))).mask[7]).toBe(1);
  });

  test('without the label says what there is', async () => {
    await expectError(read(labelled({})), 'no-lesion', /labelsTr\/a\.nii is empty/);
    await expectError(read(labelled({ 3: 2, 5: 4 })), 'no-lesion', /no voxel of the value 1; it holds 2, 4/);
    const { mask, values } = await read(labelled({ 3: 2 }), { allowEmpty: true });
    expect([mask.includes(1), values]).toEqual([false, [2]]);
  });
});

const brain = sharedFile('data/brain/dataset.json');
const ms = sharedFile('data/ms');

describe.skipIf(!brain)('real gliomas', () => {
  test('are read by their dataset.json', async () => {
    const set = await readDecathlon(path.dirname(brain!));
    expect(set.training.map(({ id }) => id)).toEqual(['BRATS_001', 'BRATS_003', 'BRATS_004', 'BRATS_006']);
    expect(set.labels.map(({ name }) => name)).toEqual(['edema', 'non-enhancing tumor', 'enhancing tumour']);
    const value = labelValues(set, 'enhancing tumour');
    expect([value, channelNumber(set, 'T1Gd')]).toEqual([[3], 1]);
    const { image: volume, mask, values } = await readCase(set.training[0], { channel: 1, label: value });
    expect(volume.dims).toEqual([240, 240, 155]);
    expect(volume.channel).toBe(1);
    expect(values).toEqual([1, 2, 3]);
    // Enhancing tumour is bright on T1 with gadolinium.
    let [inside, count, all, voxels] = [0, 0, 0, 0];
    for (let n = 0; n < mask.length; n++) {
      const v = volume.data[n];
      if (mask[n]) {
        inside += v;
        count++;
      } else if (v > 0) {
        all += v;
        voxels++;
      }
    }
    expect(count).toBeGreaterThan(500);
    expect(inside / count).toBeGreaterThan((1.1 * all) / voxels);
    await expectError(readCase(set.training[0], { label: value }), 'bad-argument', /channel/);
  });
});

describe.skipIf(!ms)('real multiple sclerosis', () => {
  test('is paired by file names', async () => {
    const set = await readDecathlon(ms!);
    expect(set.training.map(({ id }) => id)).toEqual(['oblique', 'patient07', 'patient19']);
    expect(set.channels).toEqual(['flair']);
    const { mask, image: volume } = await readCase(set.training[1], { label: 1 });
    const { sizes } = components(mask, volume.dims);
    expect(sizes.length).toBe(37);
    expect(sizes.reduce((a, b) => a + b, 0)).toBeGreaterThan(1000);
  });
});
