import { inflateSync, crc32 as nodeCrc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../src/base/crc32.js';
import { montage, montagePng } from '../../src/imaging/montage.js';
import { encodePng } from '../../src/imaging/png.js';
import { expectError, imageOf } from './support.js';

/** A PNG's size and pixels, its checksums verified. */
function decode(png: Uint8Array): { width: number; height: number; rgb: Uint8Array } {
  const view = new DataView(png.buffer, png.byteOffset);
  const parts: Record<string, Uint8Array> = {};
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...png.subarray(at + 4, at + 8));
    parts[type] = png.subarray(at + 8, at + 8 + length);
    expect(view.getUint32(at + 8 + length)).toBe(crc32(png.subarray(at + 4, at + 8 + length)));
    at += 12 + length;
  }
  const header = new DataView(parts.IHDR.buffer, parts.IHDR.byteOffset);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const raw = inflateSync(parts.IDAT);
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    expect(raw[y * (width * 3 + 1)]).toBe(1);
    for (let x = 0; x < width * 3; x++) {
      const left = x >= 3 ? rgb[y * width * 3 + x - 3] : 0;
      rgb[y * width * 3 + x] = raw[y * (width * 3 + 1) + 1 + x] + left;
    }
  }
  return { width, height, rgb };
}

test('crc32', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  const bytes = Uint8Array.from({ length: 1003 }, (_, n) => (n * 31) & 255);
  const whole = crc32(bytes);
  for (const cut of [0, 1, 7, 8, 9, 500])
    expect(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(whole);
  // Node has its own since 20.15.
  if (nodeCrc32) expect(whole).toBe(nodeCrc32(bytes));
});

test('a PNG holds its pixels', async () => {
  const rgb = Uint8Array.from({ length: 7 * 5 * 3 }, (_, n) => (n * 53) & 255);
  expect(decode(encodePng(rgb, 7, 5))).toEqual({ width: 7, height: 5, rgb });
  await expectError(() => encodePng(rgb, 7, 4), 'bad-argument');
});

describe('the montage', () => {
  // Stored as LPS with thick slices; bright towards the patient's right.
  const affine = [-1, 0, 0, 40, 0, -1, 0, 60, 0, 0, 4, -40];
  const image = imageOf([40, 60, 20], affine, (i) => 1000 - 20 * i);
  const mask = new Uint8Array(image.data.length);
  for (let k = 8; k < 12; k++) {
    for (let j = 25; j < 35; j++) for (let i = 15; i < 25; i++) mask[i + 40 * (j + 60 * k)] = 1;
  }

  test('proportions are true, right is right, and the mask is drawn', () => {
    const { width, height, rgb } = montage(image, {
      click: [20, 30, 10],
      overlays: [{ mask, colour: [255, 0, 0] }],
      pixels: 160,
    });
    // 40 × 60 × 80 mm at two pixels per mm: axial 80 × 120, coronal 80 × 160, sagittal 120 × 160, gaps of 8.
    expect([width, height]).toEqual([80 + 80 + 120 + 4 * 8, 160 + 16]);
    const pixel = (x: number, y: number) => [...rgb.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
    const middle = height / 2 - 30;
    expect(pixel(8 + 70, middle)[0]).toBeGreaterThan(pixel(8 + 20, middle)[0]);
    const red = (x0: number, x1: number) => {
      let count = 0;
      for (let y = 0; y < height; y++) {
        for (let x = x0; x < x1; x++) {
          const [r, g, b] = pixel(x, y) as [number, number, number];
          if (r === 255 && g === 0 && b === 0) count++;
        }
      }
      return count;
    };
    // The outline of a 20 × 20 pixel square, and of 20 × 32 pixel ones (less where the crosshair crosses them).
    expect(Math.abs(red(0, 92) - 76)).toBeLessThanOrEqual(4);
    expect(Math.abs(red(92, 180) - 100)).toBeLessThanOrEqual(8);
  });

  test('a field of view around the click, also beyond the edge', () => {
    const { width, height } = decode(
      montagePng(image, { click: [0, 0, 0], fieldOfView: 30, pixels: 90, percentiles: [0, 100] }),
    );
    expect([width, height]).toEqual([3 * 90 + 4 * 8, 90 + 16]);
  });

  test('constant images, wrong masks, clicks outside', async () => {
    expect(
      montage(
        imageOf([4, 4, 4], affine, () => 3),
        { click: [1, 1, 1] },
      ).width,
    ).toBeGreaterThan(0);
    const overlays = [{ mask: new Uint8Array(3), colour: [1, 2, 3] as const }];
    await expectError(() => montage(image, { click: [1, 1, 1], overlays }), 'bad-argument', /mask of 3/);
    await expectError(() => montage(image, { click: [99, 1, 1] }), 'bad-prompt', /40 × 60 × 20/);
  });
});
