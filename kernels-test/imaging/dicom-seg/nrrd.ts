/** As much of NRRD as the label maps need that dcmqi keeps beside its segmentations. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Vec3, VoxelGrid } from '../../../src/imaging/types.js';

/** A label map on its own grid (RAS+). */
export function readLabelNrrd(path: string): VoxelGrid & { readonly data: Uint8Array | Int16Array } {
  const bytes = readFileSync(path);
  const end = bytes.indexOf('\n\n');
  const fields = new Map(
    bytes
      .subarray(0, end)
      .toString('latin1')
      .split('\n')
      .flatMap((line): [string, string][] => {
        const at = line.indexOf(': ');
        return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 2)]];
      }),
  );
  const vectors = (text = '') => [...text.matchAll(/\(([^)]*)\)/g)].map(([, v]) => v.split(',').map(Number));
  const [origin] = vectors(fields.get('space origin'));
  const axes = vectors(fields.get('space directions'));
  if (fields.get('space') !== 'left-posterior-superior') throw new Error(`${path}: another space`);
  const affine = new Float64Array(16);
  for (const [row, sign] of [-1, -1, 1].entries())
    affine.set([...axes.map((axis) => sign * axis[row]), sign * origin[row]], 4 * row);
  affine[15] = 1;
  const [i, j, k] = (fields.get('sizes') ?? '').split(' ').map(Number);
  const dims: Vec3 = [i, j, k];
  const body = bytes.subarray(end + 2);
  const raw = fields.get('encoding') === 'gzip' ? gunzipSync(body) : Buffer.from(body);
  const type = fields.get('type') ?? '';
  const data = /char|int8/.test(type)
    ? new Uint8Array(raw.buffer, raw.byteOffset, i * j * k)
    : new Int16Array(Uint8Array.from(raw).buffer, 0, i * j * k);
  return { dims, affine, data };
}
