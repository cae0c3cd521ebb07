/** Other people's readers, and DICOM files that the tests make themselves. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type ByteSource, memorySource } from '../../../src/base/byte-source.js';
import type { Vec3, Volume } from '../../../src/imaging/types.js';

/** Debian's Python, which has Debian's modules. */
export const PYTHON = '/usr/bin/python3';

const says = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;

/** Which oracles are here; what is missing is printed. */
export const has = {
  pydicom: says(PYTHON, '-c', 'import pydicom, numpy'),
  gdcm: says(PYTHON, '-c', 'import gdcm'),
  nibabel: says(PYTHON, '-c', 'import nibabel'),
  dcm2niix: !spawnSync('dcm2niix', ['-v']).error,
  unu: !spawnSync('teem-unu').error,
  dcmtk: !spawnSync('dcmcrle', ['--version']).error,
};
for (const [name, there] of Object.entries(has))
  if (!there) console.warn(`skipped: comparisons with ${name}, which is not installed (tools/ci-setup.sh)`);

/** Grid and values as somebody else's reader has them. */
export function oracle(
  kind: string,
  paths: readonly string[],
): { dims: number[]; affine: number[]; data: Float64Array } {
  const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-oracle-'));
  try {
    const out = join(folder, 'values');
    const script = join(import.meta.dirname, 'oracle.py');
    const text = execFileSync(PYTHON, [script, out, kind, ...paths], { encoding: 'utf8' });
    const bytes = readFileSync(out);
    return {
      ...JSON.parse(text),
      data: new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same grid, to a thousandth of a millimetre at its far corner, and the same values, to float32. */
export function expectSame(
  volume: Volume,
  { dims, affine, data }: ReturnType<typeof oracle>,
  step = 2e-6,
): void {
  expect([...volume.dims]).toEqual(dims);
  for (let n = 0; n < 16; n++)
    expect(Math.abs(volume.affine[n] - affine[n])).toBeLessThan(n % 4 === 3 ? 1e-3 : step);
  let worst = 0;
  for (let n = 0; n < data.length; n++)
    worst = Math.max(worst, Math.abs(volume.data[n] - data[n]) / Math.max(1, Math.abs(data[n])));
  expect(data.length).toBe(volume.data.length);
  expect(worst).toBeLessThan(1e-6);
}

/** An element: its tag as `0028,0010`, its VR, and what it holds. */
export type Element = readonly [
  tag: string,
  vr: string,
  value: string | number | Uint8Array | readonly Element[][],
];

const LONG = ['OB', 'OW', 'SQ', 'UN', 'UT'];

/** Elements in explicit little endian, sorted by tag. */
export function encode(elements: readonly Element[]): Uint8Array {
  const sorted = [...elements].sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const parts = sorted.map(([tag, vr, value]) => {
    let body: Uint8Array;
    if (value instanceof Uint8Array) body = value;
    else if (typeof value === 'string')
      body = new TextEncoder().encode(value.length % 2 ? `${value}${vr === 'UI' ? '\0' : ' '}` : value);
    else if (typeof value === 'number') {
      body = new Uint8Array(vr === 'UL' ? 4 : 2);
      const view = new DataView(body.buffer);
      if (vr === 'UL') view.setUint32(0, value, true);
      else view.setUint16(0, value, true);
    } else {
      const items = value.map((item) => {
        const inside = encode(item);
        return Buffer.concat([Uint8Array.of(0xfe, 0xff, 0, 0xe0), uint32(inside.length), inside]);
      });
      body = Buffer.concat(items);
    }
    const [group, element] = tag.split(',').map((part) => Number.parseInt(part, 16));
    const head = Buffer.alloc(LONG.includes(vr) ? 12 : 8);
    head.writeUInt16LE(group, 0);
    head.writeUInt16LE(element, 2);
    head.write(vr, 4, 'latin1');
    if (LONG.includes(vr)) head.writeUInt32LE(body.length, 8);
    else head.writeUInt16LE(body.length, 6);
    return Buffer.concat([head, body]);
  });
  return new Uint8Array(Buffer.concat(parts));
}

const uint32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
};

/** Pixel data of undefined length: an empty offset table, a frame, the delimiter. */
function encapsulated(frame: Uint8Array): Uint8Array {
  const item = (kind: number, length: number) =>
    Buffer.concat([Uint8Array.of(0xfe, 0xff, kind, 0xe0), uint32(length)]);
  const head = [0xe0, 0x7f, 0x10, 0, 0x4f, 0x42, 0, 0, 0xff, 0xff, 0xff, 0xff];
  const even = Buffer.concat([frame, new Uint8Array(frame.length % 2)]);
  return Buffer.concat([Uint8Array.from(head), item(0, 0), item(0, even.length), even, item(0xdd, 0)]);
}

export const EXPLICIT = '1.2.840.10008.1.2.1';

/** A DICOM file with preamble and meta information. */
export function dicomFile(elements: readonly Element[], syntax = EXPLICIT): Uint8Array {
  const meta = encode([
    ['0002,0002', 'UI', '1.2.840.10008.5.1.4.1.1.2'],
    ['0002,0003', 'UI', '1.2.3'],
    ['0002,0010', 'UI', syntax],
  ]);
  const length = encode([['0002,0000', 'UL', meta.length]]);
  return new Uint8Array(
    Buffer.concat([new Uint8Array(128), Buffer.from('DICM'), length, meta, encode(elements)]),
  );
}

export interface SliceOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly series?: string;
  readonly description?: string;
  readonly patient?: string;
  readonly modality?: string;
  readonly position?: Vec3;
  readonly orientation?: readonly number[];
  readonly instance?: number;
  readonly uid?: string;
  readonly syntax?: string;
  readonly pixels?: Uint8Array;
  /** A compressed frame, in place of pixels. */
  readonly packed?: Uint8Array;
  /** In place of elements of the same tag; a value of undefined takes one out. */
  readonly extra?: readonly (readonly [string, string, Element[2] | undefined])[];
}

/** Stored values of slice k: different everywhere, some negative. */
export const valuesOf = (columns: number, rows: number, k: number): Int16Array =>
  Int16Array.from({ length: columns * rows }, (_, n) => ((n * 37 + k * 1009) % 4001) - 1000);

/** A CT slice of 16-bit values. */
export function slice(options: SliceOptions = {}): Uint8Array {
  const {
    columns = 8,
    rows = 6,
    series = '1.9.1',
    description = 'made',
    patient = 'P1',
    modality = 'CT',
  } = options;
  const {
    position = [0, 0, 0],
    orientation = [1, 0, 0, 0, 1, 0],
    instance = 1,
    syntax,
    extra = [],
  } = options;
  const pixels = options.pixels ?? new Uint8Array(valuesOf(columns, rows, instance).buffer);
  const own: Element[] = [
    ['0008,0008', 'CS', 'ORIGINAL\\PRIMARY\\AXIAL'],
    ['0008,0016', 'UI', '1.2.840.10008.5.1.4.1.1.2'],
    ['0008,0018', 'UI', options.uid ?? `${series}.${instance}`],
    ['0008,0060', 'CS', modality],
    ['0008,103e', 'LO', description],
    ['0010,0010', 'PN', patient],
    ['0010,0020', 'LO', patient],
    ['0018,0050', 'DS', '2'],
    ['0020,000d', 'UI', '1.9'],
    ['0020,000e', 'UI', series],
    ['0020,0011', 'IS', '1'],
    ['0020,0013', 'IS', String(instance)],
    ['0020,0032', 'DS', position.join('\\')],
    ['0020,0037', 'DS', orientation.join('\\')],
    ['0028,0002', 'US', 1],
    ['0028,0004', 'CS', 'MONOCHROME2'],
    ['0028,0010', 'US', rows],
    ['0028,0011', 'US', columns],
    ['0028,0030', 'DS', '1.5\\0.75'],
    ['0028,0100', 'US', 16],
    ['0028,0101', 'US', 16],
    ['0028,0102', 'US', 15],
    ['0028,0103', 'US', 1],
    ['0028,1052', 'DS', '-24'],
    ['0028,1053', 'DS', '2'],
    ['7fe0,0010', 'OW', pixels],
  ];
  const kept = own.filter(
    ([tag]) => !extra.some(([other]) => other === tag) && !(options.packed && tag === '7fe0,0010'),
  );
  const file = dicomFile([...kept, ...extra.filter((one): one is Element => one[2] !== undefined)], syntax);
  return options.packed ? new Uint8Array(Buffer.concat([file, encapsulated(options.packed)])) : file;
}

/** A series of slices 2.5 mm apart, out of order. */
export function series(count: number, options: (k: number) => SliceOptions = () => ({})): ByteSource[] {
  const files = Array.from({ length: count }, (_, k) => {
    const bytes = slice({ position: [-10, 20, 100 + 2.5 * k], instance: k + 1, ...options(k) });
    return memorySource(bytes, `folder/IMG${String((k * 7) % 1000).padStart(4, '0')}_${k}.dcm`);
  });
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}
