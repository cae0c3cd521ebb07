/** What `sgp-sam train` refuses or cannot go on with: each with a message that names the place and the mend. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Vec3, Volume } from '../../src/imaging/types.js';
import { type CliResult, runCliFast } from '../support/cli.js';
import {
  contents,
  fourDimensional,
  phantom,
  put,
  scratchFolder,
  volumeOf,
  writeSafetensors,
  writeVolume,
} from './support.js';
import {
  emptyFolder,
  filesIn,
  killed,
  logOf,
  phantomFolder,
  SLOW,
  sameFiles,
  tensorsOf,
  timeless,
  train,
  trained,
} from './train-support.js';

const scratch = scratchFolder();
let folders = 0;

function expectError({ code, stdout, stderr }: CliResult, says: readonly RegExp[]): void {
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/^error: \S/m);
  expect(stderr).not.toContain('internal error');
  expect(stdout).toBe('');
  for (const text of says) expect(stderr).toMatch(text);
}

/** Trains into a folder that is not there, and must not be afterwards. */
async function refused(args: readonly string[], says: readonly RegExp[]): Promise<string> {
  const folder = join(scratch, `run${folders++}`);
  const result = await train(folder, args);
  expectError(result, says);
  expect(existsSync(folder), 'a folder left behind').toBe(false);
  return result.stderr;
}

const model = ['--config', 'sgp-tiny', '--init', '1'];
const phantoms = ['--phantom-size', '48', '--phantoms', '2', '--val-phantoms', '0'];
const few = ['--samples', '2', '--checkpoint-seconds', '0'];
const quick = [...model, ...phantoms, ...few];

describe('settings', () => {
  test.concurrent.each<[string, string[], RegExp[]]>([
    ['nothing to train on', model, [/nothing to train on/, /folder, or --phantoms/]],
    ['both a folder and phantoms', [scratch, ...quick], [/both \S+ and --phantoms/, /folder, or --phantoms/]],
    ['nothing to begin from', phantoms, [/nothing to begin from/, /--weights FILE/, /--init 1/]],
    [
      'both weights and random values',
      [...quick, '--weights', 'w.safetensors'],
      [/both --weights and --init/, /Give/],
    ],
    ['an unknown arm', [...quick, '--arm', 'sgp'], [/--arm 'sgp' is none of ft-dice, ft-zoom, sgp-dice/]],
    ['an unknown configuration', [...quick, '--config', 'huge'], [/'huge'/, /Choose from: .*sgp-tiny/]],
    [
      'a configuration that the arm cannot use',
      [...quick, '--config', 'tiny'],
      [/arm sgp-zoom needs .*SGPMs, and 'tiny' has none/, /Use sgp-tiny/],
    ],
    ['an unknown schedule', [...quick, '--schedule', 'step'], [/schedule: 'step' is none/, /multi-step:/]],
    ['a schedule without its number', [...quick, '--schedule', 'cosine:x'], [/the floor is 'x'/, /Use/]],
    ['a warm-up longer than the run', [...quick, '--warmup', '5'], [/warmup of 5 updates/, /all 2 are/]],
    ['an unknown loss', [...quick, '--loss', 'iou'], [/--loss 'iou' is none of .*zoom/]],
    [
      'an unknown part of the loss',
      [...quick, '--loss-term', 'surface=1'],
      [/--loss-term 'surface' is none of dice/],
    ],
    [
      'a part of the loss without its number',
      [...quick, '--loss-term', 'focal'],
      [/is not name=value/, /focal=0/],
    ],
    [
      'a balance that is none',
      [...quick, '--loss-term', 'zeta=2'],
      [/loss term zeta is 2, not between 0 and 1/],
    ],
    [
      'a loss of nothing',
      [...quick, '--loss-term', 'dice=0', '--loss-term', 'focal=0'],
      [/the loss is 0 whatever is predicted/],
    ],
    [
      'a scale at which nothing of the lesion’s border is left',
      [...quick, '--scale', '0.1-20'],
      [/scale is 0.1-20, not two rising shares of the cube's edge up to 16/],
    ],
    ['an unknown export', [...quick, '--export', 'half'], [/--export 'half' is none of full, delta/]],
    ['an unknown preset', [...quick, '--preset', 'ct'], [/"ct"/, /sam-med3d-ct/]],
    [
      'an unknown place of clicks',
      [...quick, '--first-click', 'edge'],
      [/--first-click 'edge' is none of center/],
    ],
    [
      'names of no parameter',
      [...quick, '--train', 'decoder.*'],
      [/--train 'decoder\.\*'/, /no parameter of '\S+' has such a name/, /For instance: --train/],
    ],
    [
      'parameters that the loss does not depend on',
      [...quick, '--train', 'mask_decoder.iou_prediction_head.*'],
      [/no parameter is trained/, /Widen/],
    ],
    ['an empty name', [...quick, '--train', 'sgpm.*,'], [/'sgpm\.\*,' has an empty pattern/, /Patterns are/]],
    [
      'a group without rates',
      [...quick, '--group', 'sgpm.*'],
      [/--group 'sgpm\.\*' is not/, /For instance: --group/],
    ],
    [
      'names of no parameter among others',
      [...quick, '--train', 'mask_decoder.*,spgm.*'],
      [/--train 'spgm\.\*': no parameter of '\S+' has such a name/],
    ],
    [
      'a group of no parameter',
      [...quick, '--group', 'decoder.*:lr=2'],
      [/--group 'decoder\.\*': no parameter of '\S+' has such a name/],
    ],
    [
      'a delta over random values',
      [...quick, '--export', 'delta'],
      [/--export delta with --init/, /Export full weights/],
    ],
    ['the same by its former name', [...quick, '--export', 'adapter'], [/--export delta with --init/]],
    [
      'patience without validations',
      [...quick, '--patience', '2', '--validate-every', '0'],
      [/--patience 2 with --validate-every 0/, /Validate now and then/],
    ],
    [
      'patience without phantoms to validate with',
      [...quick, '--patience', '2'],
      [/--patience 2: there is no case to validate with/, /--val-phantoms/],
    ],
    [
      'a variant of no kernel',
      [...quick, '--variant', 'gemm=fast'],
      [/no kernel 'gemm' has variants/, /column_sum/],
    ],
    ['no cubes', [...quick, '--samples', '0'], [/samples is 0, not a whole number from 1/]],
    ['half a click', [...quick, '--clicks', '1.5'], [/clicks is 1\.5, not a whole number from 1/]],
    ['a learning rate below 0', [...quick, '--lr', '-1'], [/lr is -1, not a number from 0/]],
    ['a learning rate that is a word', [...quick, '--lr', 'fast'], [/--lr 'fast' is not a number/]],
    ['a seed that is none', [...quick, '--seed', '-1'], [/seed is -1, not a whole number from 0/]],
    [
      'checkpoints at no time',
      [...quick, '--checkpoint-seconds', 'often'],
      [/--checkpoint-seconds 'often' is not/],
    ],
    ['a share that is none', [scratch, ...model, '--val-fraction', '1'], [/--val-fraction 1 is not between/]],
    ['no phantoms', [...quick, '--phantoms', '0'], [/--phantoms 0 is not a whole number from 1/]],
    [
      'phantoms too small',
      [...quick, '--phantom-size', '8'],
      [/8 × 8 × 8 voxels cannot be made/, /Use 16 to/],
    ],
    [
      'an unknown modality',
      [...quick, '--phantom-modality', 'pet'],
      [/--phantom-modality 'pet' is none of mr/],
    ],
    ['an unknown option', [...quick, '--learning-rate', '1'], [/unknown option '--learning-rate'/]],
  ])('%s', async (_, args, says) => {
    await refused(args, says);
  });

  test('no output', async () => {
    expectError(await runCliFast(['train', ...quick]), [/required option '-o, --output <run>'/]);
  });
});

describe('data', () => {
  const { volume } = phantom;
  const [lesion] = phantom.lesions.map(({ voxel }) => voxel.map(Math.round) as [number, number, number]);
  const labels = (value: number, dims: Vec3 = volume.dims): Volume => {
    const data = new Float32Array(dims[0] * dims[1] * dims[2]);
    const [i, j, k] = lesion;
    for (let n = 0; n < 27; n++) {
      const at = [i + (n % 3), j + (Math.floor(n / 3) % 3), k + Math.floor(n / 9)];
      data[at[0] + dims[0] * (at[1] + dims[1] * at[2])] = value;
    }
    return volumeOf(dims, [...volume.affine], data, 'uint8');
  };
  const image = writeVolume(volume, 'image.nii.gz');
  const good = writeVolume(labels(1), 'label.nii.gz');
  const cut = image.subarray(0, image.length >> 1);

  /** A data set of cases a, b, …; each an image and a label, of which some may be bad. */
  function dataset(cases: readonly { image?: Uint8Array; label?: Uint8Array }[], more: object = {}): string {
    const folder = join(scratch, `data${folders++}`);
    const training = cases.map((one, n) => {
      const name = `case_${'abcdef'[n]}.nii.gz`;
      put(folder, `imagesTr/${name}`, one.image ?? image);
      put(folder, `labelsTr/${name}`, one.label ?? good);
      return { image: `./imagesTr/${name}`, label: `./labelsTr/${name}` };
    });
    const labels = { 0: 'background', 1: 'lesion' };
    put(folder, 'dataset.json', JSON.stringify({ name: 'Made', labels, training, ...more }));
    return folder;
  }
  const on = (folder: string, ...args: string[]) => [folder, ...model, ...few, ...args];

  test('a label volume of another shape', async () => {
    const label = writeVolume(labels(1, [64, 72, 50]), 'label.nii.gz');
    await refused(on(dataset([{}, { label }])), [
      /case case_b: imagesTr\/case_b\.nii\.gz and labelsTr\/case_b\.nii\.gz do not lie on the same grid/,
      /64 × 72 × 56 in the one and 64 × 72 × 50/,
      /--skip-bad-cases/,
    ]);
  });

  test('an empty label volume', async () => {
    const label = writeVolume(labels(0), 'label.nii.gz');
    await refused(on(dataset([{ label }])), [
      /case case_a: labelsTr\/case_a\.nii\.gz is empty/,
      /--skip-cases-without-lesion/,
    ]);
  });

  test('a label value that a case does not have', async () => {
    const two = { labels: { 0: 'background', 1: 'lesion', 2: 'core' } };
    await refused(on(dataset([{}], two), '--label', 'core'), [
      /case case_a: labelsTr\/case_a\.nii\.gz has no voxel of the value 2; it holds 1/,
    ]);
  });

  test('a label that the data set does not have', async () => {
    const folder = dataset([{}]);
    await refused(on(folder, '--label', 'tumour'), [
      /Made has no label "tumour"/,
      /Its labels are: 1 \(lesion\)/,
    ]);
    await refused(on(folder, '--label', '3'), [/Made has no label "3"/]);
  });

  test('an image of several channels and none chosen, or one that is not there', async () => {
    const folder = dataset([{ image: fourDimensional([volume, volume]) }], {
      modality: { 0: 'T1', 1: 'FLAIR' },
    });
    await refused(on(folder), [/case case_a: \S*case_a\.nii\.gz holds 2 images/, /channel from 0 to 1/]);
    await refused(on(folder, '--channel', 'T2'), [/Made has no channel "T2"/, /0 \(T1\), 1 \(FLAIR\)/]);
  });

  test('a file cut short among good ones', async () => {
    const folder = dataset([{}, {}, { image: cut }, {}]);
    await refused(on(folder), [/case case_c: imagesTr\/case_c\.nii\.gz.*cut short/, /--skip-bad-cases/]);
  });

  test('such a file is named and left out with --skip-bad-cases', {
    timeout: SLOW,
    tags: ['long'],
  }, async () => {
    const folder = dataset([{}, { image: cut }]);
    const run = join(scratch, 'skipped');
    const { stderr } = await trained(run, on(folder, '--skip-bad-cases', '--val-fraction', '0'));
    expect(stderr).toMatch(/^skipped case case_b: imagesTr\/case_b\.nii\.gz.*cut short/m);
    const lines = logOf(run);
    expect(lines[0]).toMatchObject({ data: { training: ['case_a'], skipped: ['case_b'], label: [1] } });
    expect(lines.filter(({ kind }) => kind === 'step').map((line) => line.case)).toEqual([
      'case_a',
      'case_a',
    ]);
  });

  test('cases without a lesion are named and left out with --skip-cases-without-lesion, bad ones are not', {
    timeout: SLOW,
    tags: ['long'],
  }, async () => {
    const empty = writeVolume(labels(0), 'label.nii.gz');
    const args = ['--skip-cases-without-lesion', '--val-fraction', '0'];
    const run = join(scratch, 'healthy');
    const { stderr } = await trained(run, on(dataset([{}, { label: empty }]), ...args));
    expect(stderr).toMatch(/^skipped case case_b: labelsTr\/case_b\.nii\.gz is empty/m);
    expect(logOf(run)[0]).toMatchObject({ data: { training: ['case_a'], skipped: ['case_b'] } });
    const broken = dataset([{}, { label: empty }, { image: cut }]);
    await refused(on(broken, ...args), [/case case_c: .*cut short/, /--skip-bad-cases/]);
  });

  test('nothing but bad ones', async () => {
    const folder = dataset([{ image: cut }, { image: cut }]);
    const stderr = await refused(on(folder, '--skip-bad-cases', '--val-fraction', '0'), [
      /no case is left: none of case_a, case_b can be used/,
    ]);
    expect(stderr).toMatch(/^skipped case case_a: /m);
    expect(stderr).toMatch(/^skipped case case_b: /m);
  });

  test('no data set', async () => {
    await refused(on(join(scratch, 'none')), [/there is no folder \S+none/]);
    await refused(on(emptyFolder(scratch, 'empty')), [/\S+empty holds no cases/, /imagesTr/]);
    const folder = dataset([{}, {}]);
    rmSync(join(folder, 'labelsTr', 'case_b.nii.gz'));
    await refused(on(folder), [
      /dataset\.json lists 1 file\(s\) that do not exist: labelsTr\/case_b/,
      /Copy/,
    ]);
    put(folder, 'dataset.json', '{"training": [');
    await refused(on(folder), [/dataset\.json is not JSON/]);
  });

  test('a data set of phantoms: validation cases are as it lists them, and the same run on other cases is another run', {
    timeout: SLOW,
    tags: ['long'],
  }, async () => {
    const folder = await phantomFolder(join(scratch, 'phantoms'), 2, ['--val', '1']);
    const run = join(scratch, 'listed');
    await trained(run, on(folder, '--validate-every', '2'));
    const [first, ...rest] = logOf(run) as {
      data?: { training: string[]; validation: string[] };
      kind: string;
    }[];
    expect(first.data!.training).toHaveLength(2);
    expect(first.data!.validation).toHaveLength(1);
    expect(rest.map(({ kind }) => kind).slice(-2)).toEqual(['validation', 'end']);
    const description = JSON.parse(readFileSync(join(folder, 'dataset.json'), 'utf8')) as {
      training: unknown[];
    };
    writeFileSync(
      join(folder, 'dataset.json'),
      JSON.stringify({ ...description, training: description.training.slice(0, 1) }),
    );
    const before = filesIn(run);
    expectError(await train(run, on(folder, '--validate-every', '2', '--resume')), [
      /another recipe: data\.training \[.*\], this run has \[/,
    ]);
    expect(sameFiles(filesIn(run), before)).toBe(true);
  });
});

describe('weights and checkpoints', { tags: ['long'] }, () => {
  const run = join(scratch, 'run');
  const checkpoint = join(run, 'checkpoint.safetensors');
  const args = [...quick, '--samples', '3', '--clicks', '1'];
  beforeAll(async () => {
    await trained(run, args);
  }, SLOW);

  const from = (weights: string) => [...phantoms, ...few, '--weights', weights];

  test('weights that are none', async () => {
    await refused(from(join(scratch, 'none.pth')), [/none\.pth: no such file/, /Check the path/]);
    const data = Float32Array.of(1);
    const other = put(
      scratch,
      'other.safetensors',
      writeSafetensors([{ name: 'conv1.weight', dtype: 'F32', shape: [1], data }]),
    );
    await refused(from(other), [/other\.safetensors/, /not a SAM-Med3D model/, /image_encoder\.pos_embed/]);
    await refused(from(put(scratch, 'text.pth', 'no weights at all')), [
      /text\.pth/,
      /neither safetensors nor/,
    ]);
    await refused(from(checkpoint), [/checkpoint\.safetensors/, /not a SAM-Med3D model/]);
  });

  test.each<[string, (bytes: Buffer) => Uint8Array, RegExp[]]>([
    ['cut short', (b) => b.subarray(0, b.length - 1000), [/checkpoint\.safetensors/, /truncated|cut|bytes/]],
    ['cut in its header', (b) => b.subarray(0, 100), [/checkpoint\.safetensors/]],
    ['empty', () => new Uint8Array(), [/checkpoint\.safetensors/]],
    ['overwritten', (b) => b.map((v, n) => (n > 20 && n < 4000 ? v ^ 0x5a : v)), [/checkpoint\.safetensors/]],
    [
      'in fact weights',
      () => readFileSync(join(run, 'weights.safetensors')),
      [
        /checkpoint\.safetensors: is not a training checkpoint/,
        /The one before it, after \d cubes, is whole/,
      ],
    ],
  ])('a checkpoint that is %s', async (name, change, says) => {
    const folder = join(scratch, `checkpoint ${name}`);
    cpSync(run, folder, { recursive: true });
    put(folder, 'checkpoint.safetensors', change(readFileSync(checkpoint)));
    const before = filesIn(folder);
    expectError(await train(folder, [...args, '--resume']), says);
    expect(sameFiles(filesIn(folder), before)).toBe(true);
  });

  test('a log that is none', async () => {
    const folder = join(scratch, 'log');
    cpSync(run, folder, { recursive: true });
    put(folder, 'log.jsonl', `once upon a time\n${readFileSync(join(run, 'log.jsonl'), 'utf8')}`);
    const before = filesIn(folder);
    expectError(await train(folder, [...args, '--resume']), [
      /log\.jsonl, line 1: is not JSON\n .*take the log away/,
    ]);
    expect(sameFiles(filesIn(folder), before)).toBe(true);
  });

  test(
    'a full disk while a checkpoint is written: the one before is unharmed, and the run goes on from it',
    async () => {
      const folder = join(scratch, 'full disk');
      // A checkpoint from the middle of the run, which was stopped there.
      const file = join(folder, 'checkpoint.safetensors');
      expect(await killed(folder, args, () => existsSync(file))).toBe(true);
      const before = readFileSync(file);
      const full = { folder, at: 'write:.checkpoint.safetensors', code: 'ENOSPC' };
      expectError(
        await train(folder, [...args, '--resume'], {
          node: ['--import', resolve('kernels-test/support/failing-fs.mjs')],
          env: { SGP_SAM_FAIL: JSON.stringify(full) },
        }),
        [
          /cannot write .+checkpoint\.safetensors: the disk is full\n {2}Make room or/,
          /choose another folder; a checkpoint that was there before is unharmed/,
        ],
      );
      expect(readFileSync(file).equals(before)).toBe(true);
      expect(contents(folder).filter((name) => name.startsWith('.'))).toEqual([]);
      await trained(folder, [...args, '--resume']);
      for (const name of ['checkpoint.safetensors', 'weights.safetensors'])
        expect(readFileSync(join(folder, name)).equals(readFileSync(join(run, name))), name).toBe(true);
      expect(timeless(logOf(folder))).toEqual(timeless(logOf(run)));
    },
    SLOW,
  );

  test(
    'a learning rate that is absurd: the step, the tensor and the last good checkpoint are named',
    async () => {
      const folder = join(scratch, 'absurd');
      const result = await train(folder, [...args, '--lr', '1e30']);
      expectError(result, [
        /step 2 \(case train phantom \d, click 1\): \S+ is not finite/,
        /Lower the learning rate/,
        /The last good checkpoint: \S+absurd\/checkpoint\.safetensors \(after 1 cubes\)/,
      ]);
      expect(contents(folder)).toEqual(['checkpoint.safetensors', 'log.jsonl', 'report.html']);
      const tensors = await tensorsOf(join(folder, 'checkpoint.safetensors'));
      expect([...tensors.values()].every((values) => values.every(Number.isFinite))).toBe(true);
      expect(logOf(folder).map(({ kind }) => kind)).toEqual(['run', 'step']);
    },
    SLOW,
  );
});

describe('the output', () => {
  test('that is a file, or in one', async () => {
    const file = put(scratch, 'file', 'mine');
    for (const folder of [file, join(file, 'run')]) {
      expectError(await train(folder, quick), [
        /\S+file\S* cannot be made or written to/,
        /Choose another folder/,
      ]);
    }
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  test.skipIf(!existsSync('/sys/kernel'))('that cannot be made', async () => {
    expectError(await train('/sys/run', quick), [
      /\/sys\/run cannot be made or written to/,
      /Choose another/,
    ]);
  });

  test('a folder with other things in it keeps them', async () => {
    const folder = emptyFolder(scratch, 'mine');
    put(folder, 'notes.txt', 'mine');
    mkdirSync(join(folder, 'log.jsonl'));
    expectError(await train(folder, quick), [/cannot write \S+log\.jsonl: it is a folder/]);
    expect(contents(folder)).toEqual(['log.jsonl', 'notes.txt']);
  });
});
