import { zlibSync } from 'fflate';
import { crc32 } from '../base/crc32.js';
import { SgpSamError } from '../base/errors.js';

/**
 * An RGB image as a PNG file (8 bits per channel, no alpha).
 * @param rgb width·height·3 bytes, rows from the top, pixels from the left
 * @throws SgpSamError `bad-argument` when the bytes do not fill the size
 */
export function encodePng(rgb: Uint8Array, width: number, height: number): Uint8Array {
  if (!(width >= 1 && height >= 1) || rgb.length !== width * height * 3) {
    throw new SgpSamError('bad-argument', `${rgb.length} bytes are no RGB image of ${width} × ${height}`);
  }
  const row = width * 3;
  const filtered = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) {
    const at = y * (row + 1);
    // Filter 1, "sub": each byte less the one a pixel to its left; grey ramps then compress well.
    filtered[at] = 1;
    for (let x = 0; x < row; x++) {
      filtered[at + 1 + x] = rgb[y * row + x] - (x >= 3 ? rgb[y * row + x - 3] : 0);
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2, 0, 0, 0], 8); // bit depth, colour type RGB, and the only compression, filtering, interlacing
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', header),
    chunk('IDAT', zlibSync(filtered, { level: 6 })),
    chunk('IEND', new Uint8Array(0)),
  ];
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** Length, type, contents, and the checksum of the latter two. */
function chunk(type: string, contents: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + contents.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, contents.length);
  for (let n = 0; n < 4; n++) out[4 + n] = type.charCodeAt(n);
  out.set(contents, 8);
  view.setUint32(8 + contents.length, crc32(out.subarray(4, 8 + contents.length)));
  return out;
}
