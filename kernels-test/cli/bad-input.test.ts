/** What `sgp-sam segment` refuses: each with a message that names the place and the mend, and without any output. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { niftiFile } from '../imaging/support.js';
import { CLI, runCli } from '../support/cli.js';
import { archive, stateDict, torchTensor } from '../weights/support/checkpoint.js';
import {
  changed,
  click,
  contents,
  fourDimensional,
  modelTensors,
  phantom,
  pointText,
  put,
  scratchFolder,
  writeSafetensors,
  writeVolume,
} from './support.js';

const scratch = scratchFolder();
const packed = writeVolume(phantom.volume, 'head.nii.gz');
const plain = gunzipSync(packed);
const head = put(scratch, 'head.nii.gz', packed);
const point = ['-p', pointText(click)];
const formula = ['--weights', 'formula:sgp-tiny'];
let folders = 0;

/** Runs `segment` into an empty folder, which must be empty afterwards; returns stderr. */
async function refused(
  args: (out: string) => readonly string[],
  options: Parameters<typeof runCli>[1] = {},
): Promise<{ stderr: string; code: number; ms: number }> {
  const folder = join(scratch, `out${folders++}`);
  mkdirSync(folder);
  const { code, stdout, stderr, ms } = await runCli(['segment', ...args(folder)], options);
  expect(contents(folder), 'files left behind').toEqual([]);
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/^error: \S/m);
  expect(stderr).not.toContain('internal error');
  expect(stdout).toBe('');
  return { stderr, code, ms };
}

/** All four outputs, in this folder. */
const into = (folder: string) => [
  '-o',
  join(folder, 'm.nii.gz'),
  '--prob',
  join(folder, 'p.nii'),
  '--report',
  join(folder, 'r.json'),
  '--png',
  join(folder, 'm.png'),
];

/** The phantom's file with its header changed. */
function withHeader(change: (view: DataView) => void): Uint8Array {
  const bytes = Uint8Array.from(plain);
  change(new DataView(bytes.buffer));
  return bytes;
}
const setDims = (view: DataView, ...dims: number[]) => {
  dims.forEach((n, i) => {
    view.setInt16(42 + 2 * i, n, true);
  });
};

describe('volumes', () => {
  const empty = { ...phantom.volume, data: new Float32Array(phantom.volume.data.length) };
  const two = () => fourDimensional([phantom.volume, phantom.volume]);
  const cases: [
    name: string,
    file: string,
    bytes: () => Uint8Array | string,
    says: RegExp[],
    args?: string[],
  ][] = [
    ['gzip cut short', 'cut.nii.gz', () => packed.subarray(0, packed.length >> 1), [/cut short/, /again/]],
    [
      'gzip damaged',
      'hurt.nii.gz',
      () => packed.map((b, i) => (i > 5000 && i < 5040 ? 0 : b)),
      [/gzip data is damaged/],
    ],
    [
      'a file cut short',
      'cut.nii',
      () => plain.subarray(0, 20_000),
      [/dim = 64 × 72 × 56/, /20000 bytes/, /cut short/],
    ],
    ['an empty file', 'empty.nii', () => '', [/empty/]],
    ['a text', 'text.nii', () => 'once upon a time there was a volume that was none', [/not a NIfTI file/]],
    [
      'the wrong magic',
      'magic.nii',
      () => withHeader((v) => v.setUint32(344, 0x78787878)),
      [/magic is "xxxx"/, /n\+1/],
    ],
    [
      'a pair of files',
      'pair.nii',
      () => withHeader((v) => v.setUint8(345, 'i'.charCodeAt(0))),
      [/its voxels are in pair\.img/],
    ],
    ['a line', 'flat.nii', () => withHeader((v) => v.setInt16(40, 1, true)), [/dim\[0\] is 1/]],
    ['no extent', 'zero.nii', () => withHeader((v) => setDims(v, 64, 0, 56)), [/dim\[2\] is 0/]],
    [
      'an extent below zero',
      'below.nii',
      () => withHeader((v) => setDims(v, 64, -72, 56)),
      [/dim\[2\] is -72/],
    ],
    [
      'complex numbers',
      'complex.nii',
      () => withHeader((v) => v.setInt16(70, 32, true)),
      [/datatype is 32/, /complex/i, /Convert/],
    ],
    ['colours', 'rgb.nii', () => withHeader((v) => v.setInt16(70, 128, true)), [/datatype is 128/]],
    [
      'a data type that is none',
      'type.nii',
      () => withHeader((v) => v.setInt16(70, 77, true)),
      [/datatype is 77/],
    ],
    [
      'a singular affine',
      'flat-affine.nii',
      () =>
        withHeader((v) => {
          for (let n = 0; n < 12; n++) v.setFloat32(280 + 4 * n, 0, true);
        }),
      [/affine/, /srow/],
    ],
    [
      'NaN voxels',
      'nan.nii',
      () =>
        niftiFile({
          datatype: 'float32',
          values: Array.from({ length: 60 }, (_, n) => (n === 17 ? Number.NaN : n)),
        }),
      [/1 voxel is NaN/, /\(2, 1, 1\)/, /fslmaths/],
      ['-p', '1,1,1'],
    ],
    [
      'nothing above 0',
      'dark.nii',
      () => writeVolume(empty, 'dark.nii'),
      [/none of the 48³ voxels/, /above 0/, /mask or an empty channel/],
    ],
    [
      'four dimensions and no channel',
      'two.nii',
      two,
      [/holds 2 images \(dim\[4\]\)/, /channel from 0 to 1/],
    ],
    [
      'a channel too far',
      'two.nii',
      two,
      [/channel 2 is none of them/, /from 0 to 1/],
      [...point, '--channel', '2'],
    ],
    [
      'a channel of a 3-D file',
      'one.nii',
      () => plain,
      [/holds 1 image /, /channel 1/],
      [...point, '--channel', '1'],
    ],
    [
      'a channel that is a word',
      'two.nii',
      two,
      [/--channel 'first'/, /whole number/],
      [...point, '--channel', 'first'],
    ],
    ['a channel left empty', 'two.nii', two, [/--channel ''/], [...point, '--channel', '']],
  ];

  test.concurrent.each(cases)('%s', async (name, file, bytes, says, args = point) => {
    // Several at a time, of the same names.
    const volume = put(join(scratch, `volume${folders++}`), file, bytes());
    const { stderr } = await refused((folder) => [volume, ...formula, ...into(folder), ...args]);
    for (const text of says) expect(stderr).toMatch(text);
    if (!/channel (that|left)/.test(name)) expect(stderr).toContain(file);
  });

  test.each([
    [
      'plain, beyond what is read',
      'huge.nii',
      (b: Uint8Array) => b,
      [32767, 32767, 32767],
      /most that is read/,
    ],
    ['plain, beyond the file', 'large.nii', (b: Uint8Array) => b, [1024, 1024, 1000], /needs \d+ bytes/],
    [
      'compressed, beyond what it can hold',
      'large.nii.gz',
      (b: Uint8Array) => gzipSync(b),
      [1024, 1024, 1000],
      /needs \d+ bytes|cut short/,
    ],
  ])('absurd sizes take no memory: %s', async (_, file, pack, dims, says) => {
    const volume = put(scratch, file, pack(withHeader((v) => setDims(v, ...dims)).subarray(0, 4000)));
    const hook =
      "data:text/javascript,process.on('exit',()=>console.error('maxRSS',process.resourceUsage().maxRSS,'KiB'))";
    const { stderr, ms } = await refused((folder) => [volume, ...formula, ...into(folder), ...point], {
      node: ['--import', hook],
    });
    expect(stderr).toMatch(says);
    expect(stderr).toContain(file);
    // Node itself takes some 50 MiB, the image would take 4 GiB.
    const [, rss] = /maxRSS (\d+) KiB/.exec(stderr) ?? [];
    expect(Number(rss) / 1024).toBeGreaterThan(20);
    expect(Number(rss) / 1024).toBeLessThan(200);
    expect(ms).toBeLessThan(20_000);
  });

  test('no such volume, and a folder', async () => {
    const none = await refused((folder) => [
      join(scratch, 'none.nii'),
      ...formula,
      ...into(folder),
      ...point,
    ]);
    expect(none.stderr).toMatch(/none\.nii: there is no such file/);
    const dir = await refused((folder) => [scratch, ...formula, ...into(folder), ...point]);
    expect(dir.stderr).toMatch(/there are \d+ images: head\.nii\.gz/);
  });
});

describe('clicks', () => {
  test.each([
    ['outside', ['-p', '64,30,30'], [/\(64, 30, 30\)/, /64 × 72 × 56/, /count from 0/]],
    ['below 0', ['-p', '-1,30,30'], [/\(-1, 30, 30\)/]],
    ['outside in mm', ['--mm', '-p', '900,0,0'], [/outside/, /64 × 72 × 56/]],
    ['two numbers', ['-p', '1,2'], [/"1,2"/, /2 coordinates instead of 3/, /i,j,k/]],
    ['a word', ['-p', '1,2,x'], [/"x" is not a number/]],
    ['NaN', ['-p', '1,2,NaN'], [/"NaN" is not a number/]],
    ['infinity', ['-p', '1,2,1e999'], [/too large/]],
    ['a hexadecimal number', ['-p', '1,2,0x10'], [/"0x10"/]],
    ['an empty one', ['-p', ''], [/not a point/]],
    ['a label that is none', ['-p', '30,30,30:2'], [/label is "2"/, /1 \(lesion\) or 0/]],
    ['two labels', ['-p', '30,30,30:1:0'], [/more than one colon/]],
    ['the second one malformed', [...point, '-p', '3'], [/"3" is not a point/]],
    ['none', [], [/no --point/, /--point i,j,k/]],
  ])('%s', async (_, args, says) => {
    const { stderr } = await refused((folder) => [head, ...formula, ...into(folder), ...args]);
    for (const text of says) expect(stderr).toMatch(text);
  });

  test('the first one labelled not lesion', async () => {
    const args = ['-p', `${pointText(click)}:0`];
    const { stderr } = await refused((folder) => [head, ...formula, ...into(folder), ...args]);
    expect(stderr).toMatch(/first click is labelled 0/);
  });
});

describe('weights', () => {
  const tensors = modelTensors('sgp-tiny');
  const write = (name: string, changes: Parameters<typeof changed>[1]) => () =>
    put(scratch, name, writeSafetensors(changed(tensors, changes)));
  const norm = 'image_encoder.blocks.2.norm1.bias';
  const whole = writeSafetensors(tensors);
  const cases: [string, () => string, RegExp[]][] = [
    ['no such file', () => 'none.safetensors', [/none\.safetensors: no such file/]],
    ['an empty name', () => '', [/no such file/]],
    ['a folder', () => scratch, [/not a regular file|folder/]],
    [
      'a text',
      () => put(scratch, 'text.pth', 'these are no weights at all'),
      [/text\.pth/, /neither safetensors nor/],
    ],
    ['a volume', () => head, [/head\.nii\.gz/, /gzip/]],
    [
      'safetensors cut short',
      () => put(scratch, 'cut.safetensors', whole.subarray(0, whole.length - 4000)),
      [/cut\.safetensors/, /truncated|cut|bytes/],
    ],
    [
      'safetensors cut in its header',
      () => put(scratch, 'cut2.safetensors', whole.subarray(0, 300)),
      [/cut2\.safetensors/],
    ],
    [
      'a tensor missing',
      write('missing.safetensors', { [norm]: undefined }),
      [/missing\.safetensors/, /1 missing: image_encoder\.blocks\.2\.norm1\.bias/],
    ],
    [
      'a tensor of another shape',
      write('shape.safetensors', { [norm]: { shape: [6, 8] } }),
      [/1 of another shape/, /\[6, 8\], not \[48\]/],
    ],
    [
      'a tensor too many',
      () =>
        put(
          scratch,
          'extra.safetensors',
          writeSafetensors([
            ...tensors,
            { name: 'extra.weight', dtype: 'F32', shape: [1], data: Float32Array.of(1) },
          ]),
        ),
      [/1 left over: extra\.weight/],
    ],
    [
      'another model altogether',
      () =>
        put(
          scratch,
          'other.safetensors',
          writeSafetensors([{ name: 'conv1.weight', dtype: 'F32', shape: [1], data: Float32Array.of(1) }]),
        ),
      [/not a SAM-Med3D model/, /image_encoder\.pos_embed is missing/, /checkpoint/],
    ],
    ['formula of no configuration', () => 'formula:huge', [/'huge'/, /sgp-tiny/]],
    ['formula without a name', () => 'formula:', [/no configuration|not formula/]],
    ['formula with a seed that is none', () => 'formula:tiny:x', [/formula:CONFIG\[:seed\]/]],
    ['formula with too much', () => 'formula:tiny:1:2', [/formula:CONFIG\[:seed\]/]],
  ];

  test.concurrent.each(cases)('%s', async (_, weights, says) => {
    const path = weights();
    const { stderr } = await refused((folder) => [head, '--weights', path, ...into(folder), ...point]);
    for (const text of says) expect(stderr).toMatch(text);
  });

  test('a NaN among them is found as they are read', async () => {
    const data = (tensors.find(({ name }) => name === norm)!.data as Float32Array).slice();
    data[5] = Number.NaN;
    const path = write('nan.safetensors', { [norm]: { data } })();
    const { stderr } = await refused((folder) => [head, '--weights', path, ...into(folder), ...point]);
    expect(stderr).toContain(`nan.safetensors: tensor '${norm}': element 5 is NaN`);
    expect(stderr).toMatch(/fetch it again/);
  });

  test.each([
    ['in place of the checkpoint', (call: object) => call],
    ['in place of the state dict', (call: object) => new Map([['model_state_dict', call]])],
    ['in place of a tensor', (call: object) => stateDict({ 'image_encoder.pos_embed': call as never })],
    [
      'beside the tensors',
      (call: object) =>
        new Map<string, never>([
          ['model_state_dict', stateDict({ w: torchTensor({ key: '0', length: 2, shape: [2] }) }) as never],
          ['hook', call as never],
        ]),
    ],
  ])('a pickle that calls os.system %s: not run', async (where, build) => {
    const marker = join(scratch, `ran ${where}`);
    const call = { call: 'os.system', args: [`touch '${marker}'`] };
    const path = put(scratch, 'bomb.pth', archive(build(call) as never, { '0': Float32Array.of(1, 2) }));
    const { stderr } = await refused((folder) => [head, '--weights', path, ...into(folder), ...point]);
    expect(existsSync(marker)).toBe(false);
    expect(stderr).toContain('bomb.pth');
    if (!where.startsWith('beside')) expect(stderr).toMatch(/os\.system.*not run/);
  });
});

describe('options', () => {
  test.each([
    ['adapter', ['--adapter', 'cray'], [/"cray"/, /swiftshader/]],
    ['preset', ['--preset', 'ct'], [/"ct"/, /sam-med3d-ct/]],
    ['gate mode', ['--gate-mode', 'magic'], [/'magic'/, /indirect/]],
    ['limits', ['--limits', 'none'], [/'none'/, /raised/]],
    ['features', ['--features', 'some'], [/'some' is none of all, none, experimental/]],
    ['variant', ['--variant', 'matmul=magic'], [/'magic'/, /register/]],
    ['variant of no kernel', ['--variant', 'matmal=tiled'], [/'matmal'/, /matmul/]],
    ['weight storage', ['--weight-storage', 'f8'], [/'f8' is none of f32, f16/]],
    ['variant without a name', ['--variant', 'matmul'], [/kernel=variant/]],
    ['option', ['--output-mask', 'x'], [/unknown option '--output-mask'/]],
  ])('unknown %s', async (_, args, says) => {
    const { stderr } = await refused((folder) => [head, ...formula, ...into(folder), ...point, ...args]);
    for (const text of says) expect(stderr).toMatch(text);
  });

  test('two volumes', async () => {
    const { stderr } = await refused((folder) => [head, head, ...formula, ...into(folder), ...point]);
    expect(stderr).toMatch(/there are 2 images/);
  });

  test('an option without its value', async () => {
    const { stderr } = await refused((folder) => [head, ...formula, ...into(folder), '-p']);
    expect(stderr).toMatch(/argument missing/);
  });
});

describe('adapters', () => {
  let hardware = false;
  beforeAll(async () => {
    const { stdout } = await runCli(['doctor', '--json']);
    const { adapters } = JSON.parse(stdout) as { adapters: { adapter: { kind: string } }[] };
    hardware = adapters.some(({ adapter }) => adapter.kind === 'hardware');
  });

  test('hardware where there is none', async ({ skip }) => {
    skip(hardware, 'there is a GPU here');
    const args = [...formula, ...point, '--adapter', 'hardware'];
    const { stderr } = await refused((folder) => [head, ...into(folder), ...args]);
    expect(stderr).toMatch(/no hardware adapter; looked at/);
    if (process.platform === 'linux') expect(stderr).toMatch(/Vulkan driver/);
  });

  test.skipIf(process.platform !== 'linux')('none at all', async () => {
    const args = [...formula, ...point, '--adapter', 'auto'];
    const env = { VK_LOADER_DRIVERS_DISABLE: '*' };
    const { stderr } = await refused((folder) => [head, ...into(folder), ...args], { env });
    expect(stderr).toMatch(/no WebGPU adapter; looked at/);
    expect(stderr).toMatch(/npm install|Install/);
  });
});

describe('outputs', () => {
  test.each(['-o', '--prob', '--report', '--png'])('%s in a folder that is not there', async (option) => {
    const name = { '-o': 'm.nii', '--prob': 'p.nii', '--report': 'r.json', '--png': 'm.png' }[option]!;
    const { stderr } = await refused((folder) => [
      head,
      ...formula,
      ...point,
      ...into(folder),
      option,
      join(folder, 'none', name),
    ]);
    expect(stderr).toMatch(/there is no folder \S+none/);
  });

  test.each([
    ['-o', 'm.mgz', /\.nii, \.nii\.gz, \.seg\.nrrd or \.dcm/],
    ['-o', 'm', /\.nii, \.nii\.gz, \.seg\.nrrd or \.dcm/],
    ['--prob', 'p.gz', /\.nii or \.nii\.gz/],
    ['--report', 'r.txt', /\.json/],
    ['--png', 'm.jpg', /\.png/],
  ])('%s called %s', async (option, name, says) => {
    const { stderr } = await refused((folder) => [
      head,
      ...formula,
      ...point,
      ...into(folder),
      option,
      join(folder, name),
    ]);
    expect(stderr).toMatch(says);
    expect(stderr).toContain(name);
  });

  test('the mask over the volume, over the weights, and one output over another', async () => {
    const copy = put(scratch, 'own/head.nii.gz', packed);
    const over = await refused(() => [
      copy,
      ...formula,
      ...point,
      '-o',
      join(scratch, 'own', '..', 'own', 'head.nii.gz'),
    ]);
    expect(over.stderr).toMatch(/already an input/);
    expect(readFileSync(copy).equals(packed)).toBe(true);
    expect(contents(join(scratch, 'own'))).toEqual(['head.nii.gz']);
    const twice = await refused((folder) => [
      head,
      ...formula,
      ...point,
      ...into(folder),
      '--prob',
      join(folder, 'm.nii.gz'),
    ]);
    expect(twice.stderr).toMatch(/already (an input|another output)/);
  });

  test.each(['-o', '--prob', '--report', '--png'])(
    '%s that is a folder: nothing of the others is written',
    async (option) => {
      const name = { '-o': 'd.nii.gz', '--prob': 'd.nii.gz', '--report': 'd.json', '--png': 'd.png' }[
        option
      ]!;
      const folder = join(scratch, `taken${option}`);
      mkdirSync(join(folder, name), { recursive: true });
      const { stderr } = await refused((out) => [
        head,
        ...formula,
        ...point,
        ...into(out),
        option,
        join(folder, name),
      ]);
      expect(stderr).toMatch(/folder/);
      expect(stderr).toContain(name);
      expect(contents(folder)).toEqual([name]);
      expect(contents(join(folder, name))).toEqual([]);
    },
  );

  /** Root may write anywhere, so the test then runs as somebody else: one who can read the project. */
  const NOBODY = 65534;
  const root = process.getuid?.() === 0;
  const canBeNobody = () => {
    try {
      execFileSync(process.execPath, [CLI, '--version'], { uid: NOBODY, gid: NOBODY, stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };

  test.skipIf(process.platform === 'win32' || (root && !canBeNobody()))(
    'a folder that cannot be written to',
    async () => {
      const folder = join(scratch, 'locked');
      mkdirSync(folder);
      chmodSync(folder, 0o555);
      const args = ['segment', head, ...formula, ...point, '-o', join(folder, 'm.nii.gz')];
      const { code, stderr, ms } = await runCli(args, root ? { uid: NOBODY } : {});
      expect(code, stderr).toBe(1);
      expect(stderr).toMatch(/locked\S* cannot be written to/);
      // Said at once, not after everything was computed.
      expect(ms).toBeLessThan(3000);
      expect(contents(folder)).toEqual([]);
      chmodSync(folder, 0o755);
    },
  );
});

describe('an interrupt', () => {
  test('while encoding ends the process at once and leaves nothing behind', async () => {
    const folder = join(scratch, 'interrupted');
    mkdirSync(folder);
    // The released model's size: on a software adapter a minute's work.
    const args = ['segment', head, '--weights', 'formula:vit_b_ori', ...point, ...into(folder)];
    // A terminal is shown a bar as soon as the encoder is at work.
    const { code, stdout, stderr, endedAfterMs } = await runCli(args, {
      node: ['--import', 'data:text/javascript,process.stderr.isTTY=true'],
      timeoutMs: 110_000,
      interruptWhen: (text) => text.includes('encoding'),
    });
    expect(stderr).toContain('loading weights');
    expect(code, stderr).toBe(130);
    expect(endedAfterMs).toBeLessThan(3000);
    expect(stdout).toBe('');
    expect(contents(folder)).toEqual([]);
  });
});

test('the inputs are as they were', () => {
  expect(readFileSync(head).equals(packed)).toBe(true);
  expect(statSync(head).size).toBe(packed.length);
  expect(basename(head)).toBe('head.nii.gz');
});
