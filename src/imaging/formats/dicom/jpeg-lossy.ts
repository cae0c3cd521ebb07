/**
 * Lossy JPEG of grey values: sequential DCT with Huffman codes, 8 or 12 bits a value (ITU-T T.81, processes 1, 2 and 4). Packages that decode
 * it know 8 bits alone, or are made for colour pictures.
 */

/** What is in a JPEG file. */
export interface JpegImage {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  /** 8 or 12 */
  readonly bits: number;
  /** None where the image is of another size than is wanted, or in colour. */
  readonly values: Uint16Array<ArrayBuffer>;
}

/** The order in which coefficients are stored (T.81, figure 5). */
const ZIGZAG = Uint8Array.from([
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46,
  53, 60, 61, 54, 47, 55, 62, 63,
]);

/** COS[x][u]: what coefficient u of a line adds to its sample x (T.81, A.3.3). */
const COS = Float64Array.from({ length: 64 }, (_, n) => {
  const [x, u] = [n >> 3, n & 7];
  return ((u === 0 ? Math.SQRT1_2 : 1) * Math.cos(((2 * x + 1) * u * Math.PI) / 16)) / 2;
});

/** A Huffman table: for every 16 bits that can come, the symbol they begin with, and 256 times its length. */
function huffman(counts: Uint8Array, symbols: Uint8Array): Uint16Array {
  const table = new Uint16Array(65536);
  let code = 0;
  let n = 0;
  for (let length = 1; length <= 16; length++) {
    for (let left = counts[length - 1]; left > 0; left--, n++, code++) {
      const from = code << (16 - length);
      table.fill((length << 8) | symbols[n], from, from + (1 << (16 - length)));
    }
    code <<= 1;
  }
  return table;
}

/** Bits of entropy-coded data, up to the next marker. */
class Bits {
  private held = 0;
  private count = 0;
  /** Bits that were asked for beyond the data's end. */
  private lacking = 0;

  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
  ) {}

  private fill(): void {
    while (this.count <= 16) {
      let byte = this.bytes[this.at];
      if (byte === undefined || (byte === 0xff && this.bytes[this.at + 1] !== 0)) {
        byte = 0;
        this.lacking += 8;
      } else this.at += byte === 0xff ? 2 : 1;
      this.held = (this.held << 8) | byte;
      this.count += 8;
    }
    // What was only looked at is still held.
    if (this.lacking > this.count) throw new Error('the data end too early');
  }

  symbol(table: Uint16Array): number {
    this.fill();
    const entry = table[(this.held >>> (this.count - 16)) & 0xffff];
    if (entry === 0) throw new Error('there is a code that its tables do not have');
    this.count -= entry >> 8;
    return entry & 255;
  }

  /** A number of so many bits, the lower half of them negative (T.81, F.2.2.1). */
  signed(bits: number): number {
    if (bits === 0) return 0;
    this.fill();
    this.count -= bits;
    const value = (this.held >>> this.count) & ((1 << bits) - 1);
    return value < 1 << (bits - 1) ? value - (1 << bits) + 1 : value;
  }

  /** Goes on behind a restart marker. */
  restart(): void {
    const { bytes } = this;
    while (this.at + 1 < bytes.length && !(bytes[this.at] === 0xff && (bytes[this.at + 1] & 0xf8) === 0xd0))
      this.at++;
    this.at += 2;
    this.held = 0;
    this.count = 0;
    this.lacking = 0;
  }
}

/**
 * Decodes one image.
 * @param width and `height` that it should have
 * @throws Error for data that are cut, damaged, progressive or arithmetically coded
 */
export function decodeJpeg(bytes: Uint8Array, width: number, height: number): JpegImage {
  const word = (at: number) => {
    if (at + 1 >= bytes.length) throw new Error('the data end too early');
    return (bytes[at] << 8) | bytes[at + 1];
  };
  const quantisers: Uint16Array[] = [];
  const tables = new Map<number, Uint16Array>();
  let frame: (Omit<JpegImage, 'values'> & { readonly quantiser: number }) | undefined;
  let interval = 0;
  for (let at = 2; ; ) {
    if (word(at) < 0xff01) throw new Error('there is no marker where one should be');
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++;
      continue;
    }
    const end = at + 2 + word(at + 2);
    if (end > bytes.length) throw new Error('the data end too early');
    at += 4;
    if (marker === 0xdb)
      while (at < end) {
        const head = bytes[at++];
        const wide = head >> 4 > 0;
        const values = new Uint16Array(64);
        for (let n = 0; n < 64; n++, at += wide ? 2 : 1) values[n] = wide ? word(at) : bytes[at];
        quantisers[head & 15] = values;
      }
    else if (marker === 0xc4)
      while (at < end) {
        const counts = bytes.subarray(at + 1, at + 17);
        const symbols = bytes.subarray(at + 17, at + 17 + counts.reduce((a, b) => a + b, 0));
        tables.set(bytes[at], huffman(counts, symbols));
        at += 17 + symbols.length;
      }
    else if (marker === 0xc0 || marker === 0xc1)
      frame = {
        bits: bytes[at],
        height: word(at + 1),
        width: word(at + 3),
        components: bytes[at + 5],
        quantiser: bytes[at + 8],
      };
    else if (marker > 0xc1 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc)
      throw new Error('it is progressive, lossless or arithmetically coded, and says that it is sequential');
    else if (marker === 0xdd) interval = word(at);
    else if (marker === 0xda) {
      if (!frame) throw new Error('it has no frame header');
      if (frame.components !== 1 || frame.width !== width || frame.height !== height)
        return { ...frame, values: new Uint16Array(0) };
      const [quantiser, dc, ac] = [
        quantisers[frame.quantiser],
        tables.get(bytes[at + 2] >> 4),
        tables.get(0x10 | (bytes[at + 2] & 15)),
      ];
      if (!quantiser || !dc || !ac) throw new Error('tables that it names are not there');
      return { ...frame, values: decodeScan(new Bits(bytes, end), frame, quantiser, dc, ac, interval) };
    }
    at = end;
  }
}

/** The blocks of a scan of one component, from left to right and down. */
function decodeScan(
  data: Bits,
  { width, height, bits }: Pick<JpegImage, 'width' | 'height' | 'bits'>,
  quantiser: Uint16Array,
  dc: Uint16Array,
  ac: Uint16Array,
  interval: number,
): Uint16Array<ArrayBuffer> {
  const values = new Uint16Array(width * height);
  const [across, down] = [Math.ceil(width / 8), Math.ceil(height / 8)];
  const middle = 1 << (bits - 1);
  const most = (1 << bits) - 1;
  const block = new Float64Array(64);
  const lines = new Float64Array(64);
  let last = 0;
  for (let n = 0; n < across * down; n++) {
    if (interval > 0 && n > 0 && n % interval === 0) {
      data.restart();
      last = 0;
    }
    block.fill(0);
    last += data.signed(data.symbol(dc) & 15);
    block[0] = last * quantiser[0];
    for (let k = 1; k < 64; k++) {
      const symbol = data.symbol(ac);
      const size = symbol & 15;
      if (size === 0) {
        if (symbol !== 0xf0) break;
        k += 15;
        continue;
      }
      k += symbol >> 4;
      if (k > 63) throw new Error('a block has more than 64 coefficients');
      block[ZIGZAG[k]] = data.signed(size) * quantiser[k];
    }
    // Along the rows, then down the columns.
    for (let v = 0; v < 64; v += 8)
      for (let x = 0; x < 8; x++) {
        let sum = 0;
        for (let u = 0; u < 8; u++) sum += COS[8 * x + u] * block[v + u];
        lines[v + x] = sum;
      }
    const [i0, j0] = [8 * (n % across), 8 * Math.floor(n / across)];
    for (let y = 0; y < 8 && j0 + y < height; y++)
      for (let x = 0; x < 8 && i0 + x < width; x++) {
        let sum = middle;
        for (let v = 0; v < 8; v++) sum += COS[8 * y + v] * lines[8 * v + x];
        values[i0 + x + width * (j0 + y)] = Math.min(most, Math.max(0, Math.round(sum)));
      }
  }
  return values;
}
