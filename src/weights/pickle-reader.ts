import { SgpSamError } from '../base/errors.js';

/** Longer integers than this many bytes or digits are not numbers of a checkpoint but an attack on BigInt. */
const MAX_INTEGER = 256;

/** The operands of pickle instructions, read in order from bytes; every read is checked against the end. */
export class PickleReader {
  /** Next byte. */
  at = 0;
  /** Where the instruction being executed starts; what errors point at. */
  opAt = 0;
  private readonly view: DataView;

  /** @param place names the file and its part in errors. */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly place: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  readonly fail = (what: string): never => {
    throw new SgpSamError('bad-file', `${this.place}, byte ${this.opAt}: ${what}`);
  };

  opcode(): number {
    this.opAt = this.at;
    return this.u8();
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** A 64-bit length; inexact above 2^53, which no file is long enough to back. */
  u64(): number {
    return Number(this.view.getBigUint64(this.take(8), true));
  }

  /** Big-endian, unlike all else. */
  f64(): number {
    return this.view.getFloat64(this.take(8), false);
  }

  raw(length: number): Uint8Array {
    const start = this.take(length);
    return this.bytes.subarray(start, start + length);
  }

  utf8(length: number): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.raw(length));
  }

  /** Text up to the next line feed, which is consumed. */
  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) return this.fail('the data ends within a line');
    const text = this.utf8(end - this.at);
    this.at = end + 1;
    return text;
  }

  /** Little-endian two's complement. */
  long(length: number): number | bigint {
    if (length > MAX_INTEGER) return this.fail(`an integer of ${length} bytes`);
    const bytes = this.raw(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
    return exact(length > 0 ? BigInt.asIntN(8 * length, value) : 0n);
  }

  /** A line with a decimal integer; `L` may follow it. */
  decimal(): number | bigint {
    const text = this.line().replace(/L$/, '').trim();
    if (text.length > MAX_INTEGER || !/^[+-]?\d+$/.test(text)) return this.fail('an integer that is none');
    return exact(BigInt(text.replace(/^\+/, '')));
  }

  /** Claims bytes before anything is made of them. */
  private take(length: number): number {
    const start = this.at;
    if (length > this.bytes.length - start) {
      return this.fail(`${length} bytes are needed, but the data ends after ${this.bytes.length - start}`);
    }
    this.at = start + length;
    return start;
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
