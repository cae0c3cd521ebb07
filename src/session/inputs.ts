/** What a host hands in, as the engine has it: volumes from files or numbers, places, actions, gates. */
import { need, needFields, needOneOf, needOptions } from '../base/arguments.js';
import { type ByteSource, blobSource, memorySource } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import type { Gpu, OpenDeviceOptions } from '../engine/gpu/device.js';
import { weightStorages } from '../engine/graph/layout.js';
import { type GateSetting, regionModes } from '../engine/graph/regions.js';
import { affineFault, affineFromRows, skewNotes } from '../imaging/affine.js';
import type { VoxelBox } from '../imaging/crop.js';
import { readVolume } from '../imaging/formats/open.js';
import { gridOfHost, isHostImage } from '../imaging/host-image.js';
import { needHeader } from '../imaging/nifti-write.js';
import { resolvePreset } from '../imaging/presets.js';
import type { Vec3, Volume } from '../imaging/types.js';
import type { Action } from './lesion-state.js';
import type {
  FilesInput,
  OpenVolumeOptions,
  SegmenterOptions,
  VolumeFile,
  VolumeInput,
} from './segmenter.js';
import { checkZoom } from './zoom.js';

/**
 * Options of whoever opens a device.
 * @throws SgpSamError `bad-argument` naming the option
 */
export function checkDevice(options: unknown, where = 'openDevice'): void {
  needOptions(where, options);
  const { device, adapter, announce } = options as Record<string, unknown>;
  if (device !== undefined)
    needFields('device', device as unknown, 'limits', 'features', 'queue', 'lost', 'createShaderModule');
  if (adapter !== undefined)
    needOneOf('adapter', adapter, ['auto', 'hardware', 'software', 'lavapipe', 'swiftshader']);
  if (announce !== undefined) need('announce', announce, 'a function');
}

/** A way to open devices that looks at its options first. */
export const deviceOpener =
  (open: (options: OpenDeviceOptions) => Promise<Gpu>) =>
  async (options: OpenDeviceOptions = {}): Promise<Gpu> => {
    checkDevice(options);
    return open(options);
  };

/**
 * A segmenter's options, all but the gates' number, which only the weights tell.
 * @throws SgpSamError `bad-argument` naming the option
 */
export function checkOptions(options: SegmenterOptions): void {
  needFields('openSegmenter: options', options, 'weights');
  checkDevice(options);
  const { weights, adapterWeights, deltaWeights, sha256, weightStorage, gateMode, gates } = options;
  const { budgetMs, preset, zoom } = options;
  for (const [name, input] of Object.entries({ weights, adapterWeights, deltaWeights })) {
    if (input === undefined || typeof input === 'string' || input instanceof URL || input instanceof Blob)
      continue;
    if (input instanceof ArrayBuffer || input instanceof ReadableStream) continue;
    need(name, input, 'a Uint8Array');
  }
  if (sha256 !== undefined) need('sha256', sha256, 'a text');
  if (weightStorage !== undefined) needOneOf('weightStorage', weightStorage, weightStorages);
  if (gateMode !== undefined) needOneOf('gateMode', gateMode, regionModes);
  if (gates !== undefined) checkGates(gates, Number.POSITIVE_INFINITY);
  if (budgetMs !== undefined) need('budgetMs', budgetMs, 'a number above 0');
  if (preset !== undefined) resolvePreset(preset);
  if (zoom !== undefined) checkZoom(zoom);
}

/**
 * A click's or box's own place: in voxels or in the world, not both.
 * @throws SgpSamError `bad-prompt`
 */
export function placeOf(where: string, place: unknown): { readonly world: boolean; readonly own: unknown } {
  need(where, place, 'an object', 'bad-prompt');
  const { ijk, mm } = place as { ijk?: unknown; mm?: unknown };
  if ((ijk === undefined) === (mm === undefined)) {
    const what = `${where} has ${ijk === undefined ? 'neither' : 'both'} ijk ${ijk === undefined ? 'nor' : 'and'} mm`;
    throw new SgpSamError('bad-prompt', what, 'Give one of the two.');
  }
  return { world: ijk === undefined, own: ijk ?? mm };
}

/**
 * An action from somebody else.
 * @throws SgpSamError `bad-prompt` naming the field
 */
export function checkAction(action: Action): void {
  need('action', action, 'an object', 'bad-prompt');
  needOneOf('action.type', action.type, ['click', 'box', 'mask'], 'bad-prompt');
  if (action.type === 'mask') return;
  if (action.type === 'box') {
    checkBox(action.box);
    return;
  }
  need('action.click', action.click, 'an object', 'bad-prompt');
  need('action.click.at', action.click.at, 'three finite numbers', 'bad-prompt');
}

/** @throws SgpSamError `bad-prompt` for a box without two corners, the lower one first */
function checkBox(box: VoxelBox): void {
  need('box', box, 'an object', 'bad-prompt');
  need('box.min', box.min, 'three finite numbers', 'bad-prompt');
  need('box.max', box.max, 'three finite numbers', 'bad-prompt');
  if ([0, 1, 2].some((a) => box.min[a] > box.max[a]))
    throw new SgpSamError(
      'bad-prompt',
      `box.min ${box.min} lies beyond box.max ${box.max}`,
      'Exchange them.',
    );
}

/** @throws SgpSamError `bad-argument` for anything but one known setting per module at most */
export function checkGates(gates: readonly GateSetting[], modules: number): void {
  need('gates', gates, 'a list');
  for (const gate of gates) needOneOf('a gate', gate, ['auto', 'open', 'closed']);
  if (gates.length <= modules) return;
  throw new SgpSamError(
    'bad-argument',
    `${gates.length} gates for a model that has ${modules} modules`,
    'Give one of auto, open, closed per module.',
  );
}

/** Numbers and where they lie, as a volume; one that was read from a file keeps what the file said. */
function volumeOf(input: Extract<VolumeInput, { data: unknown }>, name: string): Volume {
  const { data, dims } = input;
  if (!data) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: this is neither a file nor { data, dims, spacing or affine }`,
      'Give a File, Blob, ArrayBuffer or Uint8Array of a file, a list of files, or voxels with their sizes.',
    );
  }
  need(`${name}: data`, data, 'a list or typed array of numbers');
  need(`${name}: dims`, dims, 'three whole numbers from 1');
  if (data.length !== dims[0] * dims[1] * dims[2]) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: ${data.length} values do not fill ${dims.join(' × ')} voxels`,
      'Give one 3-D image, i varying fastest.',
    );
  }
  needHeader(`${name}: `, input);
  const { spacing = [1, 1, 1] } = input as { readonly spacing?: Vec3 };
  need(`${name}: spacing`, spacing, 'three numbers above 0');
  if (input.affine !== undefined) need(`${name}: affine`, input.affine, 'a list or typed array of numbers');
  const affine = input.affine
    ? affineFromRows(input.affine)
    : affineFromRows([spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0]);
  const values = data instanceof Float32Array ? data : Float32Array.from(data, Number);
  const bad = values.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) {
    throw new SgpSamError(
      'non-finite',
      `${name}: value ${bad} is ${values[bad]}`,
      'Replace it, by 0 for air.',
    );
  }
  const fault = affineFault(affine, dims);
  if (fault) throw new SgpSamError('bad-argument', `${name}: the voxel-to-world affine ${fault}`);
  const { spacing: _, ...rest } = input as { readonly spacing?: Vec3 };
  const notes = skewNotes(name, affine, dims);
  return { ...(notes.length > 0 ? { notes } : {}), ...rest, name, dims, affine, data: values };
}

/** The bytes of whatever holds a file's. */
export async function bytesOf(file: Blob | ArrayBuffer | ArrayBufferView): Promise<Uint8Array> {
  if (file instanceof Blob) return new Uint8Array(await file.arrayBuffer());
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  need('a file', file, 'a Uint8Array');
  return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
}

/**
 * A host's volume: files in whatever holds their bytes, voxels with their sizes, or an image from a host's memory.
 * @throws SgpSamError `bad-file`, `unsupported`, `bad-argument`, `non-finite`, `aborted`
 */
export async function openVolumeInput(input: VolumeInput, options: OpenVolumeOptions): Promise<Volume> {
  need('openVolume: volume', input, 'an object');
  needOptions('openVolume', options);
  if (options.name !== undefined) need('openVolume: name', options.name, 'a text');
  const own = 'name' in input ? String(input.name) : undefined;
  const name = options.name ?? own;
  if (!isFiles(input)) {
    const shown = name ?? 'volume';
    return volumeOf(isHostImage(input) ? gridOfHost(input, shown) : input, shown);
  }
  const { channel, series, progress, signal } = options;
  if (series !== undefined && typeof series !== 'number') need('openVolume: series', series, 'a text');
  return readVolume(sourcesOf(input, name), { name, channel, series, progress, signal });
}

const isFiles = (input: VolumeInput): input is FilesInput =>
  input instanceof Blob || input instanceof ArrayBuffer || ArrayBuffer.isView(input) || Array.isArray(input);

/** A host's files, to be read from. */
export function sourcesOf(input: FilesInput, name = 'volume'): ByteSource[] {
  const source = (data: Blob | ArrayBuffer | Uint8Array, called: string): ByteSource =>
    data instanceof Blob ? blobSource(data, called) : memorySource(data, called);
  if (!Array.isArray(input)) return [source(input as Blob | ArrayBuffer | Uint8Array, name)];
  return (input as readonly (File | VolumeFile)[]).map((file, n) => {
    need(`file ${n}`, file, 'an object');
    const data = 'data' in file ? file.data : file;
    if (!(data instanceof Blob || data instanceof ArrayBuffer)) need(`file ${n}: data`, data, 'a Uint8Array');
    return source(data, String(file.name ?? `file ${n + 1}`));
  });
}
