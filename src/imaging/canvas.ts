/** A colour: red, green, blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Letters of the body's directions, five by seven, a row per number, the leftmost pixel its highest bit. */
const glyphs: Readonly<Record<string, readonly number[]>> = {
  R: [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
  L: [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
  A: [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
  P: [0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10],
  S: [0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e],
  I: [0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
};

/** An RGB picture in memory; what is drawn beyond its edges is lost. */
export class Canvas {
  /** width·height·3 bytes, rows from the top. */
  readonly rgb: Uint8Array;

  constructor(
    readonly width: number,
    readonly height: number,
    background: Rgb,
  ) {
    this.rgb = new Uint8Array(width * height * 3);
    for (let n = 0; n < this.rgb.length; n++) this.rgb[n] = background[n % 3];
  }

  /** Mixes a colour over a pixel. */
  blend(x: number, y: number, colour: Rgb, opacity = 1): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const at = (y * this.width + x) * 3;
    for (let n = 0; n < 3; n++) {
      this.rgb[at + n] = Math.round(this.rgb[at + n] * (1 - opacity) + colour[n] * opacity);
    }
  }

  /** One of the letters R L A P S I, ten by fourteen pixels, its top left corner at (x, y). */
  letter(x: number, y: number, letter: string, colour: Rgb): void {
    const rows = glyphs[letter] ?? [];
    for (let row = 0; row < 14; row++) {
      for (let column = 0; column < 10; column++) {
        const bits = rows[row >> 1] ?? 0;
        if ((bits >> (4 - (column >> 1))) & 1) this.blend(x + column, y + row, colour);
      }
    }
  }
}
