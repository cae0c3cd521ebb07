/** Folders, volumes and weights for the tests of the command line; all of it is made, none of it is shipped. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll } from 'vitest';
import { affineFromRows } from '../../src/imaging/affine.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import type { DatatypeName, Vec3, Volume } from '../../src/imaging/types.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { configByName, type ModelConfig } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { formula } from '../../src/weights/formula.js';
import { type TensorData, writeSafetensors } from '../../src/weights/safetensors-write.js';

/** A folder that goes with the test file; made on import of the file that calls this. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-cli-'));
  // Readable for others: one test runs as somebody else.
  chmodSync(folder, 0o755);
  afterAll(() => {
    chmodSync(folder, 0o755);
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** Writes a file below a folder, making the folders on the way; returns its path. */
export function put(folder: string, name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

/** Everything in a folder, hidden files and folders included. */
export const contents = (folder: string): string[] => readdirSync(folder).sort();

/** A file that comes beside the project; undefined, with the reason on the console, where it is absent. */
export function shared(name: string): string | undefined {
  const path = resolve(process.cwd(), '..', 'shared', name);
  if (existsSync(path)) return path;
  console.warn(`skipped: there is no ${join('..', 'shared', name)}`);
  return undefined;
}

/** A small head with a lesion, 77 × 72 × 84 mm: a little more than the tiny model's cube of 72 mm. */
export const phantom = makePhantom({ seed: 3, dims: [64, 72, 56], spacing: [1.2, 1, 1.5] });

/** On its lesion, and off every voxel's boundary in the resampled grid: rounding must not decide the cube's place. */
export const click: Vec3 = phantom.lesions[0].voxel.map(
  (v, axis) => Math.round(v) + [0.3, 0.2, 0.1][axis],
) as [number, number, number];

export const pointText = (point: Vec3): string => point.join(',');

/** A volume that no file holds yet. */
export function volumeOf(
  dims: Vec3,
  affineRows: ArrayLike<number>,
  data: Float32Array,
  datatype: DatatypeName = 'float32',
): Volume {
  const affine = affineFromRows(Array.from(affineRows).slice(0, 12).map(Math.fround));
  return { name: 'made', dims, affine, data, datatype };
}

/** The file of a 4-D image made of 3-D ones of the same kind; all have the first one's header. */
export function fourDimensional(volumes: readonly Volume[]): Uint8Array {
  const files = volumes.map((volume) => writeVolume(volume, 'channel.nii'));
  const head = files[0].slice(0, 352);
  const view = new DataView(head.buffer);
  view.setInt16(40, 4, true);
  view.setInt16(48, volumes.length, true);
  return Buffer.concat([head, ...files.map((file) => file.subarray(352))]);
}

/** The bytes of a file, gunzipped if it says so. */
export function inflated(path: string): Buffer {
  const bytes = readFileSync(path);
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
}

/** Where a NIfTI-1 header (352 bytes with its extension flags) places the grid in the world. */
export const GEOMETRY: readonly (readonly [name: string, from: number, to: number])[] = [
  ['dim[1..3]', 42, 48],
  ['pixdim[0..3]', 76, 92],
  ['xyzt_units', 123, 124],
  ['qform_code … srow_z', 252, 328],
];

/** The bytes of the geometric fields, by name. */
export function geometryOf(file: Buffer): Record<string, number[]> {
  return Object.fromEntries(GEOMETRY.map(([name, from, to]) => [name, [...file.subarray(from, to)]]));
}

export const ones = (mask: ArrayLike<number>): number => {
  let count = 0;
  for (let n = 0; n < mask.length; n++) count += mask[n] === 1 ? 1 : 0;
  return count;
};

/** 2|A∩B| / (|A| + |B|). */
export function dice(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let both = 0;
  for (let n = 0; n < a.length; n++) both += a[n] === 1 && b[n] === 1 ? 1 : 0;
  return (2 * both) / (ones(a) + ones(b));
}

/** A model's formula weights as tensors, to be changed and written. */
export function modelTensors(name: string | ModelConfig = 'sgp-tiny', seed = 0): TensorData[] {
  const config = typeof name === 'string' ? configByName(name) : name;
  return modelParameters(config).map((spec) => ({
    name: spec.name,
    dtype: 'F32' as const,
    shape: spec.shape,
    data: formula(spec.name, spec.shape, seed),
  }));
}

/** Those tensors with some replaced: by other values, by another shape, or taken away (undefined). */
export function changed(
  tensors: readonly TensorData[],
  changes: Readonly<Record<string, Partial<TensorData> | undefined>>,
): TensorData[] {
  return tensors
    .filter(({ name }) => !(name in changes) || changes[name] !== undefined)
    .map((tensor) => ({ ...tensor, ...changes[tensor.name] }));
}

/** A gate that no channel passes. */
export const closedGate = (site: number, dim = 48): Record<string, Partial<TensorData>> => ({
  [`sgpm.${site}.gate.lin2.bias`]: { data: new Float32Array(dim).fill(-50) },
});

export { writeSafetensors, writeVolume };
