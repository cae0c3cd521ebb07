import { need, needFields } from './arguments.js';
import { SgpSamError } from './errors.js';

/**
 * Random access to the bytes of a file, wherever it lives. Readers ask for the ranges they need, so that a
 * 400 MB checkpoint is never in memory as a whole.
 */
export interface ByteSource {
  /** What messages call it: a file name or path. */
  readonly name: string;
  /** Total size in bytes. */
  readonly size: number;
  /**
   * Bytes `offset` to `offset + length`, in a fresh buffer of its own that the caller may keep or change.
   * @throws SgpSamError `bad-file` when the range leaves the file or the file cannot be read.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Gives back what the source holds (a file descriptor). Reading afterwards is an error. */
  close(): Promise<void>;
}

/**
 * Checks a range before anything is allocated for it.
 * @throws SgpSamError `bad-file` when the range is not inside the source.
 */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= source.size) return;
  throw new SgpSamError(
    'bad-file',
    `${source.name}: bytes ${offset} to ${offset + length} are needed, but the file has ${source.size}`,
    'The file is truncated or damaged; download or export it again.',
  );
}

/** A source over bytes in memory; the bytes are not copied, so leave them unchanged while it is in use. */
export function memorySource(data: ArrayBuffer | Uint8Array, name = 'weights in memory'): ByteSource {
  if (!(data instanceof ArrayBuffer)) need('memorySource: data', data, 'a Uint8Array');
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const source: ByteSource = {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      checkRange(source, offset, length);
      // Not slice(): that would hand on a SharedArrayBuffer, which WebGPU refuses, and Node's Buffer overrides it.
      const copy = new Uint8Array(length);
      copy.set(bytes.subarray(offset, offset + length));
      return copy;
    },
    async close() {},
  };
  return source;
}

/** A source over a Blob or File (an `<input type="file">`, a drop, a cached response), read range by range. */
export function blobSource(blob: Blob, name?: string): ByteSource {
  needFields('blobSource: blob', blob, 'size', 'slice');
  const fileName = 'name' in blob && typeof blob.name === 'string' ? blob.name : '';
  const source: ByteSource = {
    name: name ?? (fileName || 'weights'),
    size: blob.size,
    async read(offset, length) {
      checkRange(source, offset, length);
      let buffer: ArrayBuffer;
      try {
        buffer = await blob.slice(offset, offset + length).arrayBuffer();
      } catch (cause) {
        const mend = 'Choose the file again: it may have been changed or moved since.';
        throw new SgpSamError('bad-file', `${source.name}: cannot be read any more`, mend, { cause });
      }
      if (buffer.byteLength !== length) {
        throw new SgpSamError(
          'bad-file',
          `${source.name}: got ${buffer.byteLength} of ${length} bytes at ${offset}`,
        );
      }
      return new Uint8Array(buffer);
    },
    async close() {},
  };
  return source;
}
