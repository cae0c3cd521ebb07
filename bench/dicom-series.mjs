/**
 * Writes a folder of 600 CT slices of 512 × 512 voxels (303 MB), in no order of names, and prints the voxel of a lesion:
 * what docs/input.md's time and memory of a large series are measured on.
 *
 *   node bench/dicom-series.mjs FOLDER
 *   /usr/bin/time -v node dist/cli.js segment FOLDER --point I,J,K --weights formula:tiny --adapter lavapipe -o out.nii.gz
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makePhantom } from '../dist/node.js';

const [folder] = process.argv.slice(2);
if (!folder) throw new Error('name a folder to write the slices to');
const SLICES = 600;
const EDGE = 512;
/** The phantom's voxels in one of the series', in a slice and between slices. */
const [WITHIN, BETWEEN] = [8, 10];

/** A data element in explicit little-endian: of a text, a 16-bit number, or bytes. */
function element(group, number, vr, value) {
  let bytes = value;
  if (typeof value === 'string')
    bytes = Buffer.from(value.length % 2 ? value + (vr === 'UI' ? '\0' : ' ') : value);
  if (typeof value === 'number') {
    bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
  }
  const long = vr === 'OW';
  const head = Buffer.alloc(long ? 12 : 8);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(number, 2);
  head.write(vr, 4);
  if (long) head.writeUInt32LE(bytes.length, 8);
  else head.writeUInt16LE(bytes.length, 6);
  return Buffer.concat([head, bytes]);
}

function slice(k, pixels) {
  const syntax = element(2, 0x10, 'UI', '1.2.840.10008.1.2.1');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(syntax.length);
  const meta = Buffer.concat([
    Buffer.from([2, 0, 0, 0]),
    Buffer.from('UL'),
    Buffer.from([4, 0]),
    length,
    syntax,
  ]);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    meta,
    element(8, 8, 'CS', 'ORIGINAL\\PRIMARY\\AXIAL'),
    element(8, 0x16, 'UI', '1.2.840.10008.5.1.4.1.1.2'),
    element(8, 0x18, 'UI', `1.2.3.${k + 1}`),
    element(8, 0x60, 'CS', 'CT'),
    element(8, 0x103e, 'LO', `made of ${SLICES}`),
    element(0x10, 0x20, 'LO', 'P'),
    element(0x18, 0x50, 'DS', '0.5'),
    element(0x20, 0xd, 'UI', '1.2.4'),
    element(0x20, 0xe, 'UI', '1.2.5'),
    element(0x20, 0x13, 'IS', String(k + 1)),
    element(0x20, 0x32, 'DS', `-96\\-96\\${k * 0.5}`),
    element(0x20, 0x37, 'DS', '1\\0\\0\\0\\1\\0'),
    element(0x28, 2, 'US', 1),
    element(0x28, 4, 'CS', 'MONOCHROME2'),
    element(0x28, 0x10, 'US', EDGE),
    element(0x28, 0x11, 'US', EDGE),
    element(0x28, 0x30, 'DS', '0.375\\0.375'),
    element(0x28, 0x100, 'US', 16),
    element(0x28, 0x101, 'US', 16),
    element(0x28, 0x102, 'US', 15),
    element(0x28, 0x103, 'US', 1),
    element(0x28, 0x1052, 'DS', '0'),
    element(0x28, 0x1053, 'DS', '1'),
    element(0x7fe0, 0x10, 'OW', Buffer.from(pixels.buffer)),
  ]);
}

const [ni, nj, nk] = [EDGE / WITHIN, EDGE / WITHIN, SLICES / BETWEEN];
const { volume, lesions } = makePhantom({ seed: 3, dims: [ni, nj, nk], spacing: [3, 3, 5] });
mkdirSync(folder, { recursive: true });
for (let k = 0; k < SLICES; k++) {
  const pixels = new Int16Array(EDGE * EDGE);
  const plane = ni * nj * Math.floor(k / BETWEEN);
  for (let j = 0; j < EDGE; j++)
    for (let i = 0; i < EDGE; i++) {
      const value = volume.data[plane + ni * Math.floor(j / WITHIN) + Math.floor(i / WITHIN)];
      pixels[i + EDGE * j] = value + ((i * 7 + j * 13 + k) % 5);
    }
  // 389 has no common divisor with 600: every name once.
  const name = `I${String((k * 389) % SLICES).padStart(4, '0')}.dcm`;
  writeFileSync(join(folder, name), slice(k, pixels));
}
const [i, j, k] = lesions[0].voxel;
console.log([i * WITHIN, j * WITHIN, k * BETWEEN].join(','));
