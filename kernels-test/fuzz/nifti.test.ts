import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';
import { readNifti } from '../../src/imaging/nifti.js';
import type { Volume } from '../../src/imaging/types.js';
import { niftiFile } from '../imaging/support.js';
import { fuzzAsync } from './support.js';

/** Reads, and expects a sound volume or an error of ours: nothing else may come out of any bytes. */
async function survives(bytes: Uint8Array): Promise<void> {
  let volume: Volume;
  try {
    volume = await readNifti(bytes, { name: 'fuzz' });
  } catch (error) {
    expect(error).toBeInstanceOf(SgpSamError);
    expect((error as SgpSamError).message).toContain('fuzz');
    return;
  }
  const [i, j, k] = volume.dims;
  expect(volume.data.length).toBe(i * j * k);
  expect(volume.data.every(Number.isFinite)).toBe(true);
  expect(volume.affine.every(Number.isFinite)).toBe(true);
}

const form = fc.record({
  version: fc.constantFrom(1 as const, 2 as const),
  littleEndian: fc.boolean(),
  datatype: fc.constantFrom('uint8' as const, 'int16' as const, 'float32' as const, 'int64' as const),
});
const edits = fc.array(fc.tuple(fc.nat(1 << 30), fc.nat(255)), { minLength: 1, maxLength: 12 });

describe('arbitrary damage', () => {
  test('to header bytes', async () => {
    await fuzzAsync(
      fc.asyncProperty(form, edits, async (spec, changes) => {
        const file = niftiFile(spec);
        const header = spec.version === 1 ? 352 : 544;
        for (const [at, value] of changes) file[at % header] = value;
        await survives(file);
      }),
      1500,
    );
  });

  test('to a compressed file, and to the header inside it', async () => {
    await fuzzAsync(
      fc.asyncProperty(form, edits, edits, fc.boolean(), async (spec, inside, outside, both) => {
        const file = niftiFile(spec);
        for (const [at, value] of inside) file[at % 352] = value;
        const packed = new Uint8Array(gzipSync(file, { level: 1 }));
        if (both) for (const [at, value] of outside) packed[at % packed.length] = value;
        await survives(packed);
      }),
      500,
    );
  });

  test('any bytes at all, any length', async () => {
    await fuzzAsync(fc.asyncProperty(fc.uint8Array({ maxLength: 1200 }), survives), 500);
    const gz = fc.uint8Array({ maxLength: 600 }).map((b) => Uint8Array.from([0x1f, 0x8b, 8, 0, ...b]));
    await fuzzAsync(fc.asyncProperty(gz, survives), 500);
  });
});
