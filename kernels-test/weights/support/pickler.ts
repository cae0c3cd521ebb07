import { Bytes } from './zip-writer.js';

/** What the test pickler can write; objects are told apart by their one distinguishing field. */
export type Py =
  | null
  | boolean
  | number
  | bigint
  | string
  | Py[]
  | Map<string, Py>
  | { tuple: Py[] }
  | { global: string }
  | { call: string; args: Py[]; how?: 'reduce' | 'newobj' | 'inst' | 'obj' }
  | { persistent: Py }
  | { object: Py; state: Py }
  | { object: Py; items: Map<string, Py> }
  | { bytes: Uint8Array };

/** Pickles as CPython does, memoising text and globals. Protocol 0 is enough for what attackers write by hand. */
export function pickle(value: Py, protocol: 0 | 2 | 3 | 4 | 5 = 2): Uint8Array<ArrayBuffer> {
  const body = new Pickler(protocol);
  body.write(value);
  const end = body.out.raw([0x2e]).bytes();
  if (protocol === 0) return end;
  const file = new Bytes().u8(0x80).u8(protocol);
  if (protocol >= 4) file.u8(0x95).u64(end.length);
  return file.raw(end).bytes();
}

class Pickler {
  readonly out = new Bytes();
  private readonly memo = new Map<string, number>();

  constructor(private readonly protocol: number) {}

  write(value: Py): void {
    const { out } = this;
    if (value === null) out.text('N');
    else if (typeof value === 'boolean')
      this.protocol === 0 ? out.text(`I0${+value}\n`) : out.u8(value ? 0x88 : 0x89);
    else if (typeof value === 'number') this.number(value);
    else if (typeof value === 'bigint') this.bigint(value);
    else if (typeof value === 'string') this.remember(`text ${value}`, () => this.text(value));
    else if (Array.isArray(value)) this.list(value);
    else if (value instanceof Map) this.items(() => this.emptyDict(), value);
    else if ('tuple' in value) this.tuple(value.tuple);
    else if ('global' in value) this.global(value.global);
    else if ('call' in value) this.call(value.call, value.args, value.how ?? 'reduce');
    else if ('persistent' in value) {
      this.write(value.persistent);
      out.text('Q');
    } else if ('state' in value) {
      this.write(value.object);
      this.write(value.state);
      out.text('b');
    } else if ('items' in value) this.items(() => this.write(value.object), value.items);
    else if (value.bytes.length < 256) out.text('C').u8(value.bytes.length).raw(value.bytes);
    else out.text('B').u32(value.bytes.length).raw(value.bytes);
  }

  private number(value: number): void {
    const { out } = this;
    if (!Number.isInteger(value)) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value, false);
      this.protocol === 0 ? out.text(`F${value}\n`) : out.text('G').raw(bytes);
    } else if (this.protocol === 0) out.text(`I${value}\n`);
    else if (value >= 0 && value < 256) out.text('K').u8(value);
    else if (value >= 0 && value < 65536) out.text('M').u16(value);
    else if (Math.abs(value) < 2 ** 31) out.text('J').u32(value);
    else this.bigint(BigInt(value));
  }

  private bigint(value: bigint): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest !== 0n && rest !== -1n) {
      bytes.push(Number(rest & 255n));
      rest >>= 8n;
    }
    bytes.push(rest < 0n ? 255 : 0);
    this.out.u8(0x8a).u8(bytes.length).raw(bytes);
  }

  private text(value: string): void {
    const { out } = this;
    const bytes = new TextEncoder().encode(value);
    if (this.protocol === 0) out.text(`V${value}\n`);
    else if (this.protocol >= 4 && bytes.length < 256) out.u8(0x8c).u8(bytes.length).raw(bytes);
    else out.text('X').u32(bytes.length).raw(bytes);
  }

  private list(items: Py[]): void {
    if (this.protocol === 0) this.out.text('(l');
    else this.out.text(']');
    this.put();
    if (items.length === 0) return;
    this.out.text('(');
    for (const item of items) this.write(item);
    this.out.text('e');
  }

  private emptyDict(): void {
    this.out.text(this.protocol === 0 ? '(d' : '}');
  }

  private items(target: () => void, items: Map<string, Py>): void {
    target();
    this.put();
    if (items.size === 0) return;
    this.out.text('(');
    for (const [key, item] of items) {
      this.write(key);
      this.write(item);
    }
    this.out.text('u');
  }

  private tuple(items: Py[]): void {
    const { out } = this;
    const short = this.protocol >= 2 && items.length <= 3;
    if (!short) out.text('(');
    for (const item of items) this.write(item);
    if (!short) out.text('t');
    else out.u8([0x29, 0x85, 0x86, 0x87][items.length]);
    this.put();
  }

  private global(dotted: string): void {
    const at = dotted.lastIndexOf('.');
    const [module, name] = [dotted.slice(0, at), dotted.slice(at + 1)];
    this.remember(`global ${dotted}`, () => {
      if (this.protocol < 4) {
        this.out.text(`c${module}\n${name}\n`);
        return;
      }
      this.write(module);
      this.write(name);
      this.out.u8(0x93);
    });
  }

  private call(dotted: string, args: Py[], how: 'reduce' | 'newobj' | 'inst' | 'obj'): void {
    const { out } = this;
    if (how === 'inst' || how === 'obj') {
      out.text('(');
      if (how === 'obj') this.global(dotted);
      for (const arg of args) this.write(arg);
      const at = dotted.lastIndexOf('.');
      out.text(how === 'obj' ? 'o' : `i${dotted.slice(0, at)}\n${dotted.slice(at + 1)}\n`);
    } else {
      this.global(dotted);
      this.tuple(args);
      out.u8(how === 'reduce' ? 0x52 : 0x81);
    }
    this.put();
  }

  /** Writes a value once and fetches it from the memo later. */
  private remember(key: string, write: () => void): void {
    const known = this.memo.get(key);
    if (known === undefined) {
      write();
      this.put(key);
    } else if (this.protocol === 0) this.out.text(`g${known}\n`);
    else if (known < 256) this.out.text('h').u8(known);
    else this.out.text('j').u32(known);
  }

  private put(key = `#${this.memo.size}`): void {
    const at = this.memo.size;
    this.memo.set(key, at);
    if (this.protocol >= 4) this.out.u8(0x94);
    else if (this.protocol === 0) this.out.text(`p${at}\n`);
    else if (at < 256) this.out.text('q').u8(at);
    else this.out.text('r').u32(at);
  }
}
