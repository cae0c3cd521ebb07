/** `sgp-sam convert`: checkpoints to safetensors, whole or not at all, and nothing in them is run. */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openWeightFile } from '../../src/weights/file.node.js';
import { formula } from '../../src/weights/formula.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { randomTensor, toF32 } from '../reference/index.js';
import { runCli } from '../support/cli.js';
import { archive, stateDict, torchTensor } from '../weights/support/checkpoint.js';
import { contents, put, scratchFolder, shared } from './support.js';

const scratch = scratchFolder();
let folders = 0;
/** An empty folder of its own, and a name in it. */
function outFolder(): { folder: string; out: string } {
  const folder = join(scratch, `out${folders++}`);
  put(folder, 'x', '');
  return { folder, out: join(folder, 'weights.safetensors') };
}
/** What a run left there. */
const left = (folder: string) => contents(folder).filter((name) => name !== 'x');

const weight = toF32(randomTensor([4, 6], 1, 3));
const bias = Float32Array.of(1, -0.1, 3e-8, Number.NaN, Number.POSITIVE_INFINITY, 65504);
const half = Uint16Array.of(0x3c00, 0xc000, 0x7bff);
const step = BigInt64Array.of(12345n);

/** A checkpoint as a training script leaves it: weights beside objects of classes that are not ours to run. */
function checkpoint(): Uint8Array {
  const tensors = stateDict({
    weight: torchTensor({ key: '0', length: 24, shape: [4, 6] }),
    transposed: torchTensor({ key: '0', length: 24, shape: [6, 4], strides: [1, 6] }),
    bias: torchTensor({ key: '1', length: 6, shape: [6] }),
    half: torchTensor({ key: '2', dtype: 'F16', length: 3, shape: [3] }),
    steps: torchTensor({ key: '3', dtype: 'I64', length: 1, shape: [] }),
  });
  const all = new Map([
    ['model_state_dict', tensors],
    ['args', { object: { call: 'argparse.Namespace', args: [] }, state: new Map([['lr', 0.001]]) }],
    ['epoch', 7],
  ]);
  return archive(all, { '0': weight, '1': bias, '2': half, '3': step });
}
const source = put(scratch, 'model.pth', checkpoint());

/** Reads a safetensors file without any of our readers. */
function parse(path: string) {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return {
    names: Object.keys(header).filter((name) => name !== '__metadata__'),
    of: (name: string) => {
      const { dtype, shape, data_offsets } = header[name];
      const [from, to] = data_offsets.map((at) => 8 + length + at);
      return { dtype, shape, bytes: [...bytes.subarray(from, to)] };
    },
  };
}
const bytesOf = (view: ArrayBufferView) => [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)];

test('tensors are kept bit for bit, and what was not run is named', async () => {
  const { folder, out } = outFolder();
  const { code, stdout, stderr } = await runCli(['convert', source, out]);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain(`${source}: named in the file and not run: argparse.Namespace`);
  expect(stdout).toContain(`${out}: 5 tensors`);
  expect(left(folder)).toEqual(['weights.safetensors']);
  const file = parse(out);
  expect(file.names.sort()).toEqual(['bias', 'half', 'steps', 'transposed', 'weight']);
  expect(file.of('weight')).toEqual({ dtype: 'F32', shape: [4, 6], bytes: bytesOf(weight) });
  expect(file.of('bias')).toEqual({ dtype: 'F32', shape: [6], bytes: bytesOf(bias) });
  expect(file.of('half')).toEqual({ dtype: 'F16', shape: [3], bytes: bytesOf(half) });
  expect(file.of('steps')).toEqual({ dtype: 'I64', shape: [], bytes: bytesOf(step) });
  const turned = Float32Array.from({ length: 24 }, (_, n) => weight[(n % 4) * 6 + Math.floor(n / 4)]);
  expect(file.of('transposed')).toEqual({ dtype: 'F32', shape: [6, 4], bytes: bytesOf(turned) });
});

test('--f16 halves floats, and converts safetensors as well', async () => {
  const first = outFolder();
  expect(await runCli(['convert', '--f16', source, first.out, '-q'])).toMatchObject({ code: 0 });
  const file = parse(first.out);
  expect(file.of('bias')).toEqual({
    dtype: 'F16',
    shape: [6],
    bytes: bytesOf(Uint16Array.of(0x3c00, 0xae66, 0x0001, 0x7e00, 0x7c00, 0x7bff)),
  });
  expect(file.of('steps').dtype).toBe('I64');
  const read = await openWeightFile(first.out);
  const rounded = await read.readF32('weight');
  await read.close();
  rounded.forEach((v, n) => {
    expect(Math.abs(v - weight[n])).toBeLessThanOrEqual(2 ** -11 * Math.abs(weight[n]));
  });
  const again = outFolder();
  expect(await runCli(['convert', first.out, again.out])).toMatchObject({ code: 0 });
  expect(readFileSync(again.out).equals(readFileSync(first.out))).toBe(true);
});

test('the shared checkpoint: formula weights, bit for bit', async () => {
  const path = shared('fixtures/sam_med3d_tiny.pth');
  if (!path) return;
  const { out } = outFolder();
  const { code, stderr } = await runCli(['convert', path, out]);
  expect(code, stderr).toBe(0);
  for (const name of ['argparse.Namespace', 'numpy.dtype']) expect(stderr).toContain(name);
  const read = await openWeightFile(out);
  expect(read.tensors.size).toBe(204);
  for (const { name, shape, dtype } of read.tensors.values()) {
    expect(dtype).toBe('F32');
    expect(bytesOf(await read.readF32(name)), name).toEqual(bytesOf(formula(name, shape, 0)));
  }
  await read.close();
});

const bomb = (marker: string) =>
  archive(
    new Map([
      ['model_state_dict', stateDict({ weight: torchTensor({ key: '0', length: 24, shape: [4, 6] }) })],
      ['hook', { call: 'os.system', args: [`touch ${marker}`] }],
    ]),
    { '0': weight },
  );

test('a pickle that calls os.system beside the weights: named, not run', async () => {
  const { folder, out } = outFolder();
  const marker = join(folder, 'ran');
  const path = put(scratch, 'bomb.pth', bomb(marker));
  const { code, stderr } = await runCli(['convert', path, out]);
  expect(code).toBe(0);
  expect(stderr).toContain('not run: os.system');
  expect(left(folder)).toEqual(['weights.safetensors']);
});

/** A zip whose last storage is damaged: found only when its turn comes, with the file half written. */
function damaged(): Uint8Array {
  const bytes = checkpoint();
  const at = Buffer.from(bytes).indexOf(Buffer.from(bias.buffer));
  bytes[at + 5] ^= 0xff;
  return bytes;
}

const cases: [name: string, args: (out: string, folder: string) => string[], says: RegExp[]][] = [
  ['no such input', (out) => ['none.pth', out], [/none\.pth: no such file/]],
  ['a folder as input', (out) => [scratch, out], [/not a regular file|EISDIR|folder/]],
  [
    'not a checkpoint',
    (out) => [put(scratch, 'text.pth', 'hello, hello, hello'), out],
    [/text\.pth/, /neither/],
  ],
  ['cut short', (out) => [put(scratch, 'short.pth', checkpoint().subarray(0, 900)), out], [/short\.pth/]],
  [
    'damaged in the middle',
    (out) => [put(scratch, 'hurt.pth', damaged()), out],
    [/hurt\.pth/, /checksum|CRC|damaged/i],
  ],
  [
    'too large for f16',
    (out) => [
      put(
        scratch,
        'big.safetensors',
        writeSafetensors([
          { name: 'a', dtype: 'F32', shape: [1], data: Float32Array.of(1) },
          { name: 'w', dtype: 'F32', shape: [2], data: Float32Array.of(1, 1e6) },
        ]),
      ),
      out,
      '--f16',
    ],
    [/'w'/, /1000000/, /without f16/],
  ],
  [
    'output with another ending',
    (_, folder) => [source, join(folder, 'weights.pth')],
    [/something\.safetensors/],
  ],
  ['output without an ending', (_, folder) => [source, join(folder, 'weights')], [/something\.safetensors/]],
  [
    'output folder missing',
    (_, folder) => [source, join(folder, 'none', 'w.safetensors')],
    [/none/, /ENOENT|no folder|does not exist/],
  ],
  ['one argument', () => [source], [/missing required argument 'out'/]],
  ['unknown option', (out) => [source, out, '--bf16'], [/unknown option '--bf16'/]],
];

test.each(cases)('%s: an error that says so, and nothing is left', async (_, args, says) => {
  const { folder, out } = outFolder();
  const { code, stdout, stderr } = await runCli(['convert', ...args(out, folder)]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error: /m);
  expect(stderr).not.toContain('internal error');
  for (const text of says) expect(stderr).toMatch(text);
  expect(stdout).toBe('');
  expect(left(folder)).toEqual([]);
});

test('an existing file survives a failed conversion, and the input is never the output', async () => {
  const { folder, out } = outFolder();
  put(folder, 'weights.safetensors', 'precious');
  const hurt = put(scratch, 'hurt2.pth', damaged());
  expect(await runCli(['convert', hurt, out])).toMatchObject({ code: 1 });
  expect(readFileSync(out, 'utf8')).toBe('precious');
  expect(left(folder)).toEqual(['weights.safetensors']);

  const same = put(
    folder,
    'in.safetensors',
    writeSafetensors([{ name: 'w', dtype: 'F32', shape: [1], data: bias.subarray(0, 1) }]),
  );
  const before = readFileSync(same);
  const { code, stderr } = await runCli(['convert', '--f16', same, join(folder, '.', 'in.safetensors')]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/the output \S+in\.safetensors: this file is already an input/);
  expect(readFileSync(same).equals(before)).toBe(true);
});

test('an interrupt leaves nothing behind', async () => {
  const { folder, out } = outFolder();
  // 3 GiB of zeros that take no space on the disk: minutes of work as f16.
  const count = 48;
  const each = 2 ** 24;
  const entries = Array.from({ length: count }, (_, n) => [
    `w${n}`,
    { dtype: 'F32', shape: [each], data_offsets: [4 * each * n, 4 * each * (n + 1)] },
  ]);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const path = join(scratch, 'large.safetensors');
  const file = openSync(path, 'w');
  writeSync(file, Buffer.concat([length, header]));
  ftruncateSync(file, 8 + header.length + 4 * each * count);
  closeSync(file);
  // Something on stderr, so that it is looked whether the work has begun.
  const hook = `data:text/javascript,setInterval(()=>process.stderr.write('.'),200).unref()`;
  const { code, stderr, endedAfterMs } = await runCli(['convert', '--f16', path, out], {
    node: ['--import', hook],
    interruptWhen: () => left(folder).length > 0,
  });
  expect(code, stderr).toBe(130);
  expect(endedAfterMs).toBeLessThan(5000);
  expect(left(folder)).toEqual([]);
});

test('of two state dicts one is taken and said, --state-dict takes the other; prefixes are not carried on', async () => {
  const dict = (name: string, shape: number[]) =>
    stateDict({ [`module.model.${name}`]: torchTensor({ key: '0', length: 24, shape }) });
  const both = new Map([
    ['state_dict', dict('image_encoder.a', [4, 6])],
    ['state_dict_ema', dict('image_encoder.b', [24])],
  ]);
  const file = put(scratch, 'ema.pth', archive(both, { '0': weight }));
  const { out } = outFolder();
  const first = await runCli(['convert', file, out]);
  expect(first.code, first.stderr).toBe(0);
  expect(first.stderr).toContain("'state_dict' was taken; there is also state_dict_ema");
  expect(parse(out).names).toEqual(['image_encoder.a']);
  const second = await runCli(['convert', file, out, '--state-dict', 'state_dict_ema']);
  expect(second.code, second.stderr).toBe(0);
  expect(parse(out).names).toEqual(['image_encoder.b']);
  const third = await runCli(['convert', file, out, '--state-dict', 'ema']);
  expect(third.code).not.toBe(0);
  expect(third.stderr).toMatch(/no state dict 'ema'\n.*state_dict, state_dict_ema/);
});
