import { need, needOptions } from '../base/arguments.js';
import type { ByteSource } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import type { WeightDType } from './dtype.js';
import { openSafetensors } from './safetensors.js';

export type { WeightDType } from './dtype.js';

/** A stored tensor: what is known without reading its values. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: WeightDType;
  /** Row-major, as PyTorch prints it; empty for a scalar. */
  readonly shape: readonly number[];
}

/** Named tensors, read one at a time. */
export interface WeightSource {
  /** What messages call it: the file. */
  readonly name: string;
  readonly format: 'safetensors' | 'pth' | 'formula';
  /** Free text entries the file carries (safetensors' `__metadata__`). */
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Only for 'pth': dotted names of Python classes and functions that the file names and we did not run. */
  readonly placeholders?: readonly string[];
  /** What a reader should be told of what was read, one line. */
  readonly note?: string | undefined;
  /**
   * Values as f32, C-contiguous in the PyTorch layout, in a fresh buffer.
   * @throws SgpSamError `bad-weights` for an unknown name, `bad-file` for a damaged file.
   */
  readF32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** C-contiguous little-endian bytes of the tensor's own dtype, in a fresh buffer. Errors as readF32. */
  readRaw(name: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Closes the bytes underneath. */
  close(): Promise<void>;
}

export interface WeightOptions {
  /** Key of the state dict in a PyTorch checkpoint that has several; found unless given. */
  readonly stateDict?: string | undefined;
}

/**
 * Opens a safetensors or PyTorch zip file, told apart by content, not by name. Only headers are read. The
 * result owns `source`: closing it closes the source (on an error the source stays open, and the caller's).
 * @throws SgpSamError `bad-file` or `unsupported`, saying what the file seems to be instead.
 */
export async function openWeights(source: ByteSource, options: WeightOptions = {}): Promise<WeightSource> {
  need('openWeights: source', source, 'an object');
  need('openWeights: source.read', source.read, 'a function');
  need('openWeights: source.size', source.size, 'a whole number from 0');
  needOptions('openWeights', options);
  const head = await source.read(0, Math.min(source.size, 512));
  need('openWeights: what source.read gave', head, 'a Uint8Array');
  // A safetensors header is a JSON object after its 8-byte length. Looked for first: the length's bytes are
  // arbitrary and may spell any other format's magic.
  if (head[8] === 0x7b) {
    if (options.stateDict === undefined) return openSafetensors(source);
    const what = `${source.name}: a safetensors file has no state dict '${options.stateDict}'`;
    throw new SgpSamError('bad-argument', what, 'Leave it out.');
  }
  if (startsWith(head, 'PK\x03\x04') || startsWith(head, 'PK\x05\x06')) {
    // Loaded when it is needed: pages have safetensors.
    const { openPth } = await import('./pth.js');
    return openPth(source, options);
  }
  throw notWeights(source, head);
}

/** Formats that people pass by mistake, by what they start with. */
const LOOKALIKES: readonly { start: string; at?: number; is: string; mend: string }[] = [
  {
    // The pickled magic number of torch.save before 1.6.
    start: '\x80\x02\x8a\x0al\xfc\x9cF\xf9',
    is: 'a legacy PyTorch file (from before 1.6), which cannot be read without running it',
    mend: 'In PyTorch: torch.save(torch.load(path, map_location="cpu"), new_path).',
  },
  {
    start: 'version https://git-lfs',
    is: 'a Git LFS pointer, not the file itself',
    mend: 'Fetch the file: git lfs pull.',
  },
  { start: '<', is: 'a web page', mend: 'The download gave an error page; download the file again.' },
  { start: '\x1f\x8b', is: 'gzip-compressed', mend: 'Unpack it first.' },
  {
    start: 'ustar',
    at: 257,
    is: 'a tar archive',
    mend: 'Unpack it, or save it again with PyTorch 1.6 or later.',
  },
  {
    start: '\x89HDF',
    is: 'an HDF5 file',
    mend: 'Save the tensors as safetensors or as a PyTorch state dict.',
  },
  {
    start: '\x80',
    is: 'a bare Python pickle (a legacy PyTorch file, from before 1.6, looks like this)',
    mend: 'In PyTorch: torch.save(torch.load(path, map_location="cpu"), new_path).',
  },
];

function notWeights(source: ByteSource, head: Uint8Array): SgpSamError {
  if (source.size === 0) {
    return new SgpSamError('bad-file', `${source.name}: the file is empty`, 'Download or export it again.');
  }
  const known = LOOKALIKES.find(({ start, at }) => startsWith(head, start, at));
  const code = known ? 'unsupported' : 'bad-file';
  const is = known?.is ?? 'neither safetensors nor a PyTorch zip checkpoint';
  const mend = known?.mend ?? 'Pass a .safetensors file, or a .pth/.pt file from torch.save of a state dict.';
  return new SgpSamError(code, `${source.name}: this is ${is}`, mend);
}

function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}
