/** MetaImage (.mha, .mhd with its .raw or .zraw): https://itk.org/Wiki/ITK/MetaIO/Documentation */
import type { ByteSource } from '../../base/byte-source.js';
import { SgpSamError } from '../../base/errors.js';
import { datatypeByName } from '../datatypes.js';
import type { DatatypeName, Vec3, Volume } from '../types.js';
import type { Format, ReadVolumeOptions } from './format.js';
import { affineFromLps } from './space.js';
import {
  baseName,
  besides,
  chosenChannel,
  joined,
  type Pieces,
  piecesOf,
  readVoxels,
  unzlibbed,
} from './voxel-pieces.js';

/** Bytes within which a header ends. */
const MAX_HEADER = 1 << 16;

/** MET_LONG is as long as its writer's `long`: ITK takes 4 bytes. */
const TYPES: Readonly<Record<string, DatatypeName>> = {
  MET_CHAR: 'int8',
  MET_UCHAR: 'uint8',
  MET_SHORT: 'int16',
  MET_USHORT: 'uint16',
  MET_INT: 'int32',
  MET_UINT: 'uint32',
  MET_LONG: 'int32',
  MET_ULONG: 'uint32',
  MET_LONG_LONG: 'int64',
  MET_ULONG_LONG: 'uint64',
  MET_FLOAT: 'float32',
  MET_DOUBLE: 'float64',
};

/** The fields up to `ElementDataFile`, which is the last one, the lines behind it, and where these begin. */
function splitHeader(bytes: Uint8Array, name: string) {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  const fields = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const stop = text.indexOf('\n', at);
    const line = text.slice(at, stop < 0 ? text.length : stop);
    at = stop < 0 ? text.length : stop + 1;
    const field = /^\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line);
    if (!field) {
      if (line.trim() === '') continue;
      break;
    }
    fields.set(field[1].toLowerCase(), field[2]);
    if (field[1].toLowerCase() === 'elementdatafile') return { fields, end: at, behind: text.slice(at) };
  }
  throw new SgpSamError(
    'bad-file',
    `${name}: its MetaImage header has no ElementDataFile`,
    'The file was cut short or damaged: copy or export it again.',
  );
}

async function read(files: readonly ByteSource[], options: ReadVolumeOptions): Promise<Volume> {
  const file = files[0];
  const name = options.name ?? file.name;
  const fail = (what: string) =>
    new SgpSamError('bad-file', `${name}: ${what}`, 'The header is damaged: export the image again.');
  const head = await file.read(0, Math.min(file.size, MAX_HEADER));
  const { fields, end, behind } = splitHeader(head, name);
  const numbers = (names: readonly string[], count: number, usual: readonly number[]): readonly number[] => {
    const key = names.find((one) => fields.has(one));
    if (key === undefined) return usual;
    const values = fields.get(key)!.split(/\s+/).map(Number);
    if (values.length >= count && values.every(Number.isFinite)) return values;
    throw fail(`${key}: ${fields.get(key)} are not ${count} numbers`);
  };
  const yes = (key: string) => /^(true|1|yes)$/i.test(fields.get(key) ?? '');
  const rank = Number(fields.get('ndims'));
  if (!(rank >= 2 && rank <= 4))
    throw new SgpSamError(
      'unsupported',
      `${name}: NDims = ${fields.get('ndims')} is no volume`,
      'Give a 3-D image.',
    );
  const sizes = numbers(['dimsize'], rank, []);
  if (!(sizes.length >= rank && sizes.every((n) => Number.isInteger(n) && n >= 1)))
    throw fail(`DimSize = ${fields.get('dimsize')}`);
  const type = TYPES[fields.get('elementtype') ?? ''];
  if (!type)
    throw new SgpSamError(
      'unsupported',
      `${name}: ElementType = ${fields.get('elementtype')} is not read`,
      'Convert the image to an integer or float type.',
    );
  if (fields.has('binarydata') && !yes('binarydata'))
    throw new SgpSamError(
      'unsupported',
      `${name}: BinaryData = False: voxels as text are not read`,
      'Write it as binary data.',
    );
  const perVoxel = Number(fields.get('elementnumberofchannels') ?? 1);
  const times = rank === 4 ? sizes[3] : 1;
  if (!(Number.isInteger(perVoxel) && perVoxel >= 1))
    throw fail(`ElementNumberOfChannels = ${fields.get('elementnumberofchannels')}`);
  if (perVoxel > 1 && times > 1)
    throw new SgpSamError(
      'unsupported',
      `${name}: it has both channels and a fourth axis`,
      'Extract the 3-D image you mean.',
    );
  const channels = perVoxel * times;
  const channel = chosenChannel(options.channel, channels, name);
  const dims: Vec3 = [sizes[0], sizes[1], sizes[2] ?? 1];
  const ones = Array.from({ length: rank }, () => 1);
  const spacing = numbers(['elementspacing', 'elementsize'], rank, ones);
  const unit = Array.from({ length: rank * rank }, (_, n) => Number(n % (rank + 1) === 0));
  const matrix = numbers(['transformmatrix', 'rotation', 'orientation'], rank * rank, unit);
  const offset = numbers(
    ['offset', 'position', 'origin'],
    rank,
    ones.map(() => 0),
  );
  const column = (axis: number): Vec3 => {
    if (axis >= rank) return [0, 0, 1];
    const at = (c: number) => (c < rank ? matrix[axis * rank + c] * spacing[axis] : 0);
    return [at(0), at(1), at(2)];
  };
  const affine = affineFromLps(
    [column(0), column(1), column(2)],
    [offset[0], offset[1], offset[2] ?? 0],
    dims,
    name,
  );
  const sources = sourcesOf(fields.get('elementdatafile')!, behind, files, name);
  const packed = yes('compresseddata');
  const datatype = datatypeByName(type);
  const skip = Number(fields.get('headersize') ?? 0);
  const each = (dims[0] * dims[1] * dims[2] * channels * datatype.size) / sources.length;
  let held = 0;
  const parts = sources.map((source): Pieces => {
    const begin = source === file ? end : packed ? 0 : skip < 0 ? Math.max(0, source.size - each) : skip;
    held += Math.max(0, source.size - begin);
    return packed ? unzlibbed(source, begin, options) : piecesOf(source, begin, options);
  });
  const littleEndian = !(yes('binarydatabyteordermsb') || yes('elementbyteordermsb'));
  const data = await readVoxels(
    joined(parts),
    { dims, datatype, littleEndian, slope: 1, inter: 0 },
    name,
    { channels, channel, interleaved: perVoxel > 1 },
    packed ? { packed: held } : { bytes: held },
  );
  return {
    name,
    dims,
    affine,
    data,
    datatype: type,
    channels,
    channel,
    description: fields.get('comment') ?? '',
  };
}

/** `LOCAL`, a name, `LIST` with names behind it, or a pattern with numbers. */
function sourcesOf(value: string, behind: string, files: readonly ByteSource[], name: string): ByteSource[] {
  if (/^local$/i.test(value)) return [files[0]];
  const find = (path: string) => besides(files, baseName(path), name);
  if (/^list\b/i.test(value))
    return behind
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean)
      .map(find);
  const pattern = /^(.*%0?(\d*)d.*?)\s+(\d+)\s+(\d+)\s+(\d+)$/.exec(value);
  if (!pattern) return [find(value)];
  const [first, last, step] = [3, 4, 5].map((n) => Number(pattern[n])) as [number, number, number];
  const count = Math.floor((last - first) / step) + 1;
  if (!(count >= 1 && count <= 1e5)) throw new SgpSamError('bad-file', `${name}: ElementDataFile = ${value}`);
  return Array.from({ length: count }, (_, n) =>
    find(pattern[1].replace(/%0?\d*d/, String(first + n * step).padStart(Number(pattern[2] || 1), '0'))),
  );
}

export const metaImage: Format = {
  name: 'MetaImage',
  sniff(head) {
    const text = String.fromCharCode(...head.subarray(0, 256));
    return (
      /^\s*(ObjectType\s*=\s*Image|NDims\s*=)/i.test(text) ||
      (/^\s*(Comment|ObjectType)\s*=/i.test(text) && /NDims\s*=/.test(text))
    );
  },
  read,
};
