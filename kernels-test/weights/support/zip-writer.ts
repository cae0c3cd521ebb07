import { deflateSync } from 'fflate';
import { crc32 } from '../../../src/base/crc32.js';

export interface ZipFile {
  readonly name: string;
  readonly data: Uint8Array;
  readonly deflate?: boolean;
  /** Written instead of the true checksum. */
  readonly crc?: number;
  /** Bits of the general purpose flag, compression method: to claim what is not so. */
  readonly flags?: number;
  readonly method?: number;
  /** Written instead of the true uncompressed size. */
  readonly size?: number;
  /** Bytes of extra field in the local header alone, as PyTorch pads storages to 64 bytes. */
  readonly padding?: number;
}

export interface ZipOptions {
  /** Puts sizes and offsets into zip64 fields. */
  readonly zip64?: boolean;
  readonly comment?: string;
}

/** A zip archive, spelled out field by field, so that tests can get any of it wrong. */
export function zipOf(files: readonly ZipFile[], options: ZipOptions = {}): Uint8Array<ArrayBuffer> {
  const out = new Bytes();
  const directory = new Bytes();
  for (const file of files) {
    const name = new TextEncoder().encode(file.name);
    const stored = file.deflate ? deflateSync(file.data) : file.data;
    const size = file.size ?? file.data.length;
    const headerAt = out.length;
    const common = (header: Bytes) =>
      header
        .u16(file.flags ?? 0)
        .u16(file.method ?? (file.deflate ? 8 : 0))
        .u32(0)
        .u32(file.crc ?? crc32(file.data))
        .u32(options.zip64 ? 0xffffffff : stored.length)
        .u32(options.zip64 ? 0xffffffff : size)
        .u16(name.length);
    common(out.u32(0x04034b50).u16(45)).u16(file.padding ?? 0);
    out
      .raw(name)
      .raw(new Uint8Array(file.padding ?? 0))
      .raw(stored);

    common(directory.u32(0x02014b50).u16(45).u16(45)).u16(options.zip64 ? 34 : 0);
    directory.u16(0).u16(0).u16(0).u32(0);
    directory.u32(options.zip64 ? 0xffffffff : headerAt).raw(name);
    // An unrelated extra field first: readers must step over it.
    if (options.zip64) directory.u16(0x9999).u16(2).u16(7);
    if (options.zip64) directory.u16(1).u16(24).u64(size).u64(stored.length).u64(headerAt);
  }
  const at = out.length;
  out.raw(directory.bytes());
  const end = out.length;
  const count = files.length;
  if (options.zip64) {
    out.u32(0x06064b50).u64(44).u16(45).u16(45).u32(0).u32(0);
    out.u64(count).u64(count).u64(directory.length).u64(at);
    out.u32(0x07064b50).u32(0).u64(end).u32(1);
  }
  const comment = new TextEncoder().encode(options.comment ?? '');
  const small = (value: number, limit: number) => (options.zip64 ? limit : value);
  out.u32(0x06054b50).u16(0).u16(0).u16(small(count, 0xffff)).u16(small(count, 0xffff));
  out.u32(small(directory.length, 0xffffffff)).u32(small(at, 0xffffffff));
  return out.u16(comment.length).raw(comment).bytes();
}

/** Growing little-endian bytes. */
export class Bytes {
  private readonly parts: number[] = [];

  get length(): number {
    return this.parts.length;
  }

  u8(value: number): this {
    this.parts.push(value & 255);
    return this;
  }

  u16(value: number): this {
    return this.u8(value).u8(value >>> 8);
  }

  u32(value: number): this {
    return this.u16(value & 0xffff).u16(value >>> 16);
  }

  u64(value: number): this {
    return this.u32(value >>> 0).u32(Math.floor(value / 2 ** 32));
  }

  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.parts.push(byte);
    return this;
  }

  text(text: string): this {
    return this.raw(new TextEncoder().encode(text));
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.parts);
  }
}
