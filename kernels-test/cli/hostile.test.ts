/**
 * Small files that stopped the process: each is an error of ours within two seconds of processor time and 500 MB, in a process
 * of its own.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, deflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { niftiFile } from '../imaging/support.js';
import { runCli } from '../support/cli.js';
import { costOf } from '../support/hostile.js';
import { archive, stateDict, torchTensor } from '../weights/support/checkpoint.js';
import type { Py } from '../weights/support/pickler.js';
import { zipOf } from '../weights/support/zip-writer.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MEBI = 2 ** 20;
const bytes = (count: number, byte: number | string) => Buffer.alloc(count, byte);
const pth = (pickle: Uint8Array) => archive(pickle, {}, { deflate: true });
const pickled = (...parts: Uint8Array[]) =>
  Buffer.concat([Buffer.from([0x80, 4]), ...parts, Buffer.from('.')]);
const repeated = (unit: Uint8Array, times: number) => {
  const out = Buffer.alloc(unit.length * times);
  for (let n = 0; n < times; n++) out.set(unit, n * unit.length);
  return out;
};

/** A tensor's size of 400,000 axes, and 20,000 tensors that share it. */
function sharedShape(): Uint8Array {
  const storage = 'ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ';
  const begin = Buffer.from(
    `(${'K\x01'.repeat(400_000)}tq\x010(X\x07\x00\x00\x00storage${storage}q\x020`,
    'latin1',
  );
  const tensor = Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n(h\x02K\x00h\x01h\x01tR0', 'latin1');
  return pickled(begin, repeated(tensor, 20_000), Buffer.from('N'));
}

/** Tensors that all show the same four bytes 2²⁴ times. */
function flood(): Uint8Array {
  const tensors: Record<string, Py> = {};
  for (let n = 0; n < 2000; n++)
    tensors[`t${n}`] = torchTensor({ key: '0', length: 1, shape: [2 ** 24], strides: [0] });
  return archive(stateDict(tensors), { '0': new Float32Array(1) });
}

function safetensorsOf(header: string): Uint8Array {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text]);
}

const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const checkpoint = (recipe: string) =>
  writeSafetensors([{ name: 'w', dtype: 'U8', shape: [1], data: new Uint8Array(1) }], {
    format: 'sgp-sam checkpoint',
    version: '1',
    updates: '1',
    config: '{}',
    recipe,
    base: 'x',
    progress: '{}',
    frozen: '{}',
  });

const zeros = deflateRawSync(new Uint8Array(MEBI), { finishFlush: constants.Z_FULL_FLUSH, level: 9 });
/** Gzip of a header and a gibibyte of zeros, put together of a mebibyte's block. */
function bomb(datatype: 'uint8' | 'int16' | 'float32', dim: number[]): Uint8Array {
  const head = niftiFile({ dim, datatype, values: [] }).subarray(0, 352);
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
    deflateRawSync(head, { finishFlush: constants.Z_FULL_FLUSH }),
    repeated(zeros, 1024),
    Buffer.from([3, 0]),
    Buffer.alloc(8, 1),
  ]);
}

const weights = 'api.openWeightFile(file)';
const volume = 'api.readNiftiFile(file)';
const volumeInMemory = 'api.readNifti(readFileSync(file), { name: file })';
const profile = 'api.parseProfile(readFileSync(file), file)';

const FILES: readonly (readonly [string, string, () => Uint8Array | string, string, RegExp])[] = [
  ['nested lists', 'x.pth', () => pth(pickled(bytes(60 * MEBI, ']'))), weights, /1000000 instructions/],
  ['nested dicts', 'x.pth', () => pth(pickled(bytes(60 * MEBI, '}'))), weights, /1000000 instructions/],
  [
    'a memo of millions',
    'x.pth',
    () => pth(pickled(Buffer.from('N'), bytes(10_000_000, 0x94))),
    weights,
    /instructions/,
  ],
  ['marks', 'x.pth', () => pth(pickled(bytes(60 * MEBI, '('))), weights, /instructions/],
  [
    'tuples in tuples',
    'x.pth',
    () => pth(pickled(Buffer.from('N'), bytes(20 * MEBI, 0x85))),
    weights,
    /instructions/,
  ],
  [
    'a million names',
    'x.pth',
    () => pth(pickled(repeated(Buffer.from('ca\nb\n0'), 490_000), Buffer.from('N'))),
    weights,
    /holds null/,
  ],
  [
    'one long name',
    'x.pth',
    () => pth(pickled(Buffer.from('c'), bytes(30 * MEBI, 'a'), Buffer.from('\nb\n'))),
    weights,
    /not run/,
  ],
  ['a long shape that tensors share', 'x.pth', () => pth(sharedShape()), weights, /without a valid size/],
  ['a flood of expanded tensors', 'x.pth', flood, weights, /repeat 4 stored bytes/],
  [
    'a storage that unpacks to a gigabyte',
    'x.pth',
    () => zipOf([{ name: 'a/data.pkl', data: new Uint8Array(2 ** 20), deflate: true, size: 2 ** 30 }]),
    weights,
    /claims 1073741824|unpacks to/,
  ],
  [
    '400,000 keys twice',
    'x.safetensors',
    () => safetensorsOf(`{${'"k":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'.repeat(400_000)}"z":1}`),
    weights,
    /lists 'k' twice/,
  ],
  [
    '400,000 keys',
    'x.safetensors',
    () =>
      safetensorsOf(
        `{${Array.from({ length: 400_000 }, (_, n) => `"k${n}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join()},"k7":1}`,
      ),
    weights,
    /twice|values/,
  ],
  [
    'a name of 20 MB',
    'x.safetensors',
    () => safetensorsOf(`{"${'n'.repeat(20 * MEBI)}":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`),
    weights,
    /tensor 'nnnn.*…/,
  ],
  ['a deep header', 'x.safetensors', () => safetensorsOf(`{"a":${deep(10 * MEBI)}}`), weights, /64 levels/],
  [
    'a header of empty lists',
    'x.safetensors',
    () => safetensorsOf(`{"a":[${'[],'.repeat(10_000_000)}1]}`),
    weights,
    /2000000 values/,
  ],
  [
    'a long key before many colons',
    'x.json',
    () => `["${'\\n'.repeat(MEBI)}"${':'.repeat(2 * MEBI)}]`,
    profile,
    /a colon without a key/,
  ],
  ['JSON nested 20 MB deep', 'x.json', () => deep(10 * MEBI), profile, /64 levels/],
  ['JSON of unclosed brackets', 'x.json', () => '[{"a":'.repeat(3_000_000), profile, /64 levels/],
  ['JSON of millions of objects', 'x.json', () => `[${'{},'.repeat(6_000_000)}1]`, profile, /2000000 values/],
  ['JSON of an endless text', 'x.json', () => `"${'\\'.repeat(30_000_000)}`, profile, /not JSON/],
  ['JSON of 100 MB', 'x.json', () => ' '.repeat(100_000_000), profile, /67108864 characters/],
  [
    'a recipe nested 20,000 deep',
    'x.safetensors',
    () => checkpoint(`{"a":${deep(20_000)}}`),
    'api.openWeightFile(file).then((source) => api.restoreCheckpoint(source, { config: {}, trained: [] }, { recipe: {}, base: "x" }))',
    /'recipe' is JSON of more than 64 levels/,
  ],
  ['1 GiB of uint8', 'x.nii.gz', () => bomb('uint8', [3, 1024, 1024, 1024]), volume, /voxels/],
  ['1 GiB of int16', 'x.nii.gz', () => bomb('int16', [3, 1024, 1024, 512]), volume, /voxels/],
  ['1 GiB of float32', 'x.nii.gz', () => bomb('float32', [3, 1024, 512, 512]), volume, /voxels/],
  [
    '1 GiB of images',
    'x.nii.gz',
    () => bomb('uint8', [4, 64, 64, 64, 4096]),
    `api.readNiftiFile(file, { channel: 0 })`,
    /voxels/,
  ],
  ['1 GiB, in memory', 'x.nii.gz', () => bomb('uint8', [3, 1024, 1024, 1024]), volumeInMemory, /voxels/],
  ['1 GiB behind a small image', 'x.nii.gz', () => bomb('uint8', [3, 4, 4, 4]), volumeInMemory, /^$/],
];

describe('small files that stop nothing', () => {
  test.each(FILES)('%s', async (name, ending, make, expression, says) => {
    const file = join(folder, ending);
    writeFileSync(file, make());
    const { code, message, seconds, megabytes } = await costOf(expression, file);
    expect(message).toMatch(says);
    expect(code).toMatch(says.test('') ? /^none$/ : /^(bad-file|unsupported)$/);
    expect(message.length).toBeLessThan(11_000);
    console.log(`${name}: ${code}, ${seconds.toFixed(2)} s, ${megabytes.toFixed(0)} MB`);
    expect(seconds).toBeLessThan(2);
    expect(megabytes).toBeLessThan(500);
  });
});

test('commands say so too', async () => {
  const json = join(folder, 'dataset.json');
  writeFileSync(json, deep(10 * MEBI));
  const list = join(folder, 'list.json');
  writeFileSync(list, deep(MEBI));
  const big = join(folder, 'bomb.nii.gz');
  writeFileSync(big, bomb('uint8', [3, 1024, 1024, 1024]));
  for (const [args, says] of [
    [['eval', folder, '--label', '1'], /dataset\.json is JSON of more than 64 levels/],
    [['eval', list], /list\.json is JSON of more than 64 levels/],
    [['compare', json, list], /dataset\.json is JSON of more than 64 levels/],
    [['profile', '--compare', json, list], /dataset\.json is JSON of more than 64 levels/],
    [['segment', big, '--point', '1,1,1', '-o', join(folder, 'm.nii')], /bomb\.nii\.gz: .*voxels/],
  ] as const) {
    const { code, stderr } = await runCli(args, { node: ['--max-old-space-size=400'] });
    expect(code, stderr).not.toBe(0);
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain('internal error');
  }
});
