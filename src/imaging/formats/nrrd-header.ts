/** The text header of NRRD files (http://teem.sourceforge.net/nrrd/format.html), versions 1 to 5. */
import { SgpSamError } from '../../base/errors.js';
import type { DatatypeName, Vec3 } from '../types.js';
import { affineFromLps } from './space.js';

/** Characters of the longest header: hundreds of segments with their terminology. */
export const MAX_HEADER = 1 << 22;

const TYPES: readonly (readonly [DatatypeName, readonly string[]])[] = [
  ['int8', ['signed char', 'int8', 'int8_t']],
  ['uint8', ['uchar', 'unsigned char', 'uint8', 'uint8_t']],
  ['int16', ['short', 'short int', 'signed short', 'signed short int', 'int16', 'int16_t']],
  ['uint16', ['ushort', 'unsigned short', 'unsigned short int', 'uint16', 'uint16_t']],
  ['int32', ['int', 'signed int', 'int32', 'int32_t']],
  ['uint32', ['uint', 'unsigned int', 'uint32', 'uint32_t']],
  [
    'int64',
    [
      'longlong',
      'long long',
      'long long int',
      'signed long long',
      'signed long long int',
      'int64',
      'int64_t',
    ],
  ],
  ['uint64', ['ulonglong', 'unsigned long long', 'unsigned long long int', 'uint64', 'uint64_t']],
  ['float32', ['float']],
  ['float64', ['double']],
];

/** What the axes of the world point to, as factors that lead to LPS. */
const SPACES: Readonly<Record<string, Vec3>> = {
  'left-posterior-superior': [1, 1, 1],
  lps: [1, 1, 1],
  'right-anterior-superior': [-1, -1, 1],
  ras: [-1, -1, 1],
  'left-anterior-superior': [1, -1, 1],
  las: [1, -1, 1],
};

export interface NrrdHeader {
  readonly datatype: DatatypeName;
  readonly littleEndian: boolean;
  readonly encoding: 'raw' | 'gzip' | 'text';
  readonly dims: Vec3;
  readonly affine: Float64Array;
  /** Images in the file, by its one axis that is none of space; and whether that axis comes first. */
  readonly channels: number;
  readonly interleaved: boolean;
  /** Where the voxels are if not behind the header; then `dataAt` counts in those files. */
  readonly dataFiles: readonly string[];
  readonly lineSkip: number;
  /** −1: the voxels are the last bytes of the file. */
  readonly byteSkip: number;
  readonly content: string;
  /** Key/value pairs (`key:=value`). */
  readonly pairs: ReadonlyMap<string, string>;
}

/**
 * Reads a header.
 * @param text up to the empty line, or all of a detached one
 * @throws SgpSamError `bad-file` or `unsupported`, naming the field
 */
export function parseNrrdHeader(text: string, name: string): NrrdHeader {
  const { fields, pairs, list } = splitFields(text, name);
  const fail = (what: string, mend = 'The header is damaged: export the image again.') =>
    new SgpSamError('bad-file', `${name}: ${what}`, mend);
  const need = (field: string): string => {
    const value = fields.get(field);
    if (value === undefined) throw fail(`the header has no '${field}'`);
    return value;
  };
  const type = need('type').toLowerCase();
  const datatype = TYPES.find(([, names]) => names.includes(type))?.[0];
  if (!datatype)
    throw new SgpSamError(
      'unsupported',
      `${name}: type: ${type} is not read`,
      'Convert the image to an integer or float type.',
    );
  const rank = Number(need('dimension'));
  const sizes = need('sizes').trim().split(/\s+/).map(Number);
  if (sizes.length !== rank)
    throw fail(`sizes: ${sizes.join(' ')} are ${sizes.length}, and dimension is ${rank}`);
  if (!sizes.every((n) => Number.isInteger(n) && n >= 1)) throw fail(`sizes: ${need('sizes')} are no sizes`);
  const encodings = {
    raw: 'raw',
    gzip: 'gzip',
    gz: 'gzip',
    text: 'text',
    txt: 'text',
    ascii: 'text',
  } as const;
  const encoding = encodings[need('encoding').toLowerCase() as keyof typeof encodings];
  if (!encoding)
    throw new SgpSamError(
      'unsupported',
      `${name}: encoding: ${need('encoding')} is not read`,
      'Write it again as gzip or raw.',
    );
  const endian = fields.get('endian')?.toLowerCase();
  if (endian === undefined && encoding !== 'text' && !/8$/.test(datatype))
    throw fail("the header has no 'endian'");
  if (endian !== undefined && endian !== 'little' && endian !== 'big') throw fail(`endian: ${endian}`);
  const skip = (field: string, least: number) => {
    const n = Number(fields.get(field) ?? 0);
    if (!Number.isInteger(n) || n < least) throw fail(`${field}: ${fields.get(field)}`);
    return n;
  };
  const axes = spaceOf(fields, sizes, name, fail);
  return {
    datatype,
    littleEndian: endian !== 'big',
    encoding,
    ...axes,
    dataFiles: dataFilesOf(fields.get('data file'), list, fail),
    lineSkip: skip('line skip', 0),
    byteSkip: skip('byte skip', -1),
    content: fields.get('content') ?? '',
    pairs,
  };
}

/** Spellings of fields that mean another. */
const SAME: Readonly<Record<string, string>> = {
  datafile: 'data file',
  lineskip: 'line skip',
  byteskip: 'byte skip',
};

function splitFields(text: string, name: string) {
  const lines = text.split(/\r?\n/);
  if (!/^NRRD000[1-5]$/.test(lines[0].trim()))
    throw new SgpSamError(
      'bad-file',
      `${name}: it begins with ${JSON.stringify(lines[0].slice(0, 20))}, no NRRD version that is known`,
    );
  const fields = new Map<string, string>();
  const pairs = new Map<string, string>();
  let list: string[] = [];
  for (const [n, line] of lines.entries()) {
    if (n === 0 || line.startsWith('#')) continue;
    if (line === '') break;
    const pair = /^([^:]*):=(.*)$/.exec(line);
    const field = /^([^:]+): ?(.*)$/.exec(line);
    if (pair) pairs.set(pair[1], pair[2].replaceAll('\\n', '\n').replaceAll('\\\\', '\\'));
    else if (field) {
      const key = field[1].trim().toLowerCase();
      fields.set(SAME[key] ?? key, field[2].trim());
      if ((SAME[key] ?? key) === 'data file' && /^LIST\b/.test(field[2].trim())) {
        list = lines
          .slice(n + 1)
          .map((path) => path.trim())
          .filter((path) => path !== '');
        break;
      }
    } else
      throw new SgpSamError(
        'bad-file',
        `${name}: line ${n + 1} of its header is neither a field nor a comment: ${line.slice(0, 60)}`,
      );
  }
  return { fields, pairs, list };
}

type Fail = (what: string, mend?: string) => SgpSamError;

/** `(1,0,0) none (0,1,0)` as vectors. */
function vectorsOf(text: string): (number[] | undefined)[] {
  return Array.from(text.matchAll(/none|\(([^)]*)\)/gi), ([, inside]) => inside?.split(',').map(Number));
}

function spaceOf(fields: ReadonlyMap<string, string>, sizes: readonly number[], name: string, fail: Fail) {
  const directions = fields.get('space directions');
  const vectors = directions === undefined ? undefined : vectorsOf(directions);
  const kinds = (fields.get('kinds') ?? '').toLowerCase().split(/\s+/).filter(Boolean);
  const inSpace = sizes.map((_, axis) =>
    vectors ? vectors[axis] !== undefined : /^(domain|space|\?\?\?)$/.test(kinds[axis] ?? 'domain'),
  );
  if (vectors && vectors.length !== sizes.length)
    throw fail(`space directions: ${directions} are not one per axis`);
  // Without kinds, the fourth axis is time or channels.
  if (!vectors && inSpace.every(Boolean) && sizes.length === 4) inSpace[3] = false;
  let own = sizes.map((_, axis) => axis).filter((axis) => inSpace[axis]);
  const others = sizes.map((_, axis) => axis).filter((axis) => !inSpace[axis]);
  const flat = own.length === 2 && others.length === 0;
  if (flat) own = [...own, -1];
  if (own.length !== 3 || others.length > 1)
    throw new SgpSamError(
      'unsupported',
      `${name}: sizes: ${sizes.join(' ')} with ${own.length} axes in space: this is neither a volume nor a list of volumes`,
      'Extract the 3-D image you mean into a file of its own.',
    );
  const [other] = others;
  if (other !== undefined && other !== 0 && other !== sizes.length - 1)
    throw new SgpSamError(
      'unsupported',
      `${name}: axis ${other} of its ${sizes.length} is none of space, and neither the first nor the last`,
      'Permute its axes.',
    );
  const dims = own.map((axis) => (axis < 0 ? 1 : sizes[axis])) as unknown as Vec3;
  const channels = other === undefined ? 1 : sizes[other];
  const space = fields.get('space')?.toLowerCase();
  const factors = space === undefined ? ([1, 1, 1] as const) : SPACES[space.replace(/-time$|t$/, '')];
  if (!factors)
    throw new SgpSamError(
      'unsupported',
      `${name}: space: ${fields.get('space')} does not say where a patient's left is`,
      'Write it in left-posterior-superior or right-anterior-superior.',
    );
  const units = (fields.get('space units') ?? '').match(/"[^"]*"/g)?.map((unit) => unit.slice(1, -1));
  const scale = { '': 1, mm: 1, cm: 10, m: 1000, um: 1e-3, μm: 1e-3, microns: 1e-3 } as Readonly<
    Record<string, number>
  >;
  const unit = scale[units?.[0] ?? ''];
  if (unit === undefined)
    throw new SgpSamError('unsupported', `${name}: space units: ${units?.[0]}`, 'Write it in mm.');
  const lps = (vector: readonly number[]): Vec3 => {
    const [x = Number.NaN, y = Number.NaN, z = Number.NaN] = vector;
    return [x * factors[0] * unit, y * factors[1] * unit, z * factors[2] * unit];
  };
  const spacings = (fields.get('spacings') ?? '').split(/\s+/).map(Number);
  const columns = own.map((axis, n): Vec3 => {
    const vector = axis < 0 ? undefined : vectors?.[axis];
    if (vector) return lps(vector);
    const step = axis < 0 ? 1 : Number.isFinite(spacings[axis]) ? spacings[axis] : 1;
    return [n === 0 ? step : 0, n === 1 ? step : 0, n === 2 ? step : 0];
  }) as unknown as readonly [Vec3, Vec3, Vec3];
  const [origin = [0, 0, 0]] = vectorsOf(fields.get('space origin') ?? '(0,0,0)');
  return {
    dims,
    channels,
    interleaved: other === 0 && channels > 1,
    affine: affineFromLps(columns, lps(origin), dims, name),
  };
}

/** One name, a list, or names with numbers: `slice%03d.raw 1 79 1`. */
function dataFilesOf(value: string | undefined, list: readonly string[], fail: Fail): string[] {
  if (value === undefined) return [];
  if (/^LIST\b/.test(value)) return [...list];
  const pattern = /^(.*%0?(\d*)d.*?)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(?:\s+\d+)?$/.exec(value);
  if (!pattern) return [value];
  const [first, last, step] = [3, 4, 5].map((n) => Number(pattern[n])) as [number, number, number];
  const count = Math.floor((last - first) / step) + 1;
  if (!(count >= 1 && count <= 1e5)) throw fail(`data file: ${value}`);
  return Array.from({ length: count }, (_, n) =>
    pattern[1].replace(/%0?\d*d/, String(first + n * step).padStart(Number(pattern[2] || 1), '0')),
  );
}
