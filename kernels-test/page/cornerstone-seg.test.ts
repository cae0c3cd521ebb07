/**
 * DICOM segmentations written here, as cornerstone3D's adapter reads them in a page on their series: segment by segment, voxel by voxel.
 *
 * @module-tag long
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { gridOfCrop } from '../../src/imaging/crop.js';
import { dicom } from '../../src/imaging/formats/dicom/dicom.js';
import { writeDicomSeg } from '../../src/imaging/formats/dicom-seg.js';
import { makeSeries, maskOf, OBLIQUE, type SeriesOptions } from '../imaging/dicom-seg/series.js';
import { sharedFile } from '../imaging/support.js';
import { evaluateAsText, findBrowser, loadModule, type OpenPage, openPage } from '../support/page.js';

const browser = findBrowser();
if (!browser)
  console.log('skipped in a page: no Chromium (optional package @sparticuz/chromium, or the system’s)');

const fixtures = sharedFile('data/formats/README.md');
const shared = (name: string, only: RegExp) => {
  const folder = join(dirname(fixtures as string), name);
  return readdirSync(folder)
    .filter((file) => only.test(file))
    .map((file) => new Uint8Array(readFileSync(join(folder, file))));
};

const made = (options: SeriesOptions) => () => makeSeries(options).files.map(({ bytes }) => bytes);
const series: Record<string, (() => Uint8Array<ArrayBuffer>[]) | undefined> = {
  // Five frames of 35 pixels, which lie across the borders of bytes. Their 22 bytes are an even number: where DICOM pads
  // an odd one, this version of the adapter refuses the file.
  'axial, 7 × 5 pixels': made({ dims: [7, 5, 4] }),
  oblique: made({ orientation: OBLIQUE, dims: [8, 12, 6] }),
  'a CT of 3 slices': fixtures ? () => shared('dicom_seg_ct3slice_dcmqi', /^0\d/) : undefined,
  'a CT of 79 slices': fixtures ? () => shared('dicom_ct64_cip', /./) : undefined,
};
/** Voxels of a grid by their shares of its sizes, from 0 to 1, and their slice. */
type Shape = (x: number, y: number, z: number, k: number) => boolean;
const shapes: Record<string, Readonly<Record<string, Shape>>> = {
  // Two: of three or more, of which some overlap, this version merges those that do not, and drops slices where one of them has none.
  overlapping: {
    ball: (x, y, z, k) => k !== 3 && Math.hypot(x - 0.4, y - 0.5, z - 0.4) < 0.45,
    Rand: (x, _, __, k) => x < 0.3 && k % 2 === 0,
  },
  apart: {
    left: (x, y, __, k) => x < 0.3 && y < 0.5 && k % 2 === 0,
    Mitte: (x, y) => x > 0.4 && x < 0.6 && y > 0.3,
    right: (x, _, z) => x > 0.7 && z > 0.2,
  },
};

describe.skipIf(!browser)('cornerstone3D’s adapter', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-cornerstone-'));
  let open: OpenPage;
  beforeAll(async () => {
    await build({
      entryPoints: ['kernels-test/page/cornerstone-seg.ts'],
      outfile: join(folder, 'adapter.js'),
      bundle: true,
      format: 'esm',
      platform: 'browser',
      logLevel: 'error',
      // What its packages import and do not depend on; of Node's modules only a writer of XML makes use.
      alias: { '@babel/runtime': resolve('node_modules/@babel/runtime-corejs3') },
      plugins: [
        {
          name: 'no-node',
          setup(bundler) {
            bundler.onResolve({ filter: /^(events|url)$/ }, ({ path }) => ({ path, namespace: 'no-node' }));
            bundler.onLoad({ filter: /./, namespace: 'no-node' }, () => ({
              contents: 'export class EventEmitter {} export const URL = globalThis.URL;',
            }));
          },
        },
      ],
    });
    open = await openPage({ serve: { '/lib/': folder } });
    await loadModule(open.page, '/lib/adapter.js', 'adapter');
  }, 120_000);
  afterAll(async () => {
    await open?.close();
    rmSync(folder, { recursive: true });
  });

  const cases = Object.entries(series).flatMap(([name, files]) =>
    Object.entries(shapes).map(([how, lesions]) => ({ name, how, files, lesions })),
  );
  for (const { name, how, files, lesions } of cases) {
    // Three segments of 7 × 5 pixels are an odd number of bytes.
    if (how === 'apart' && name.startsWith('axial')) continue;
    it.skipIf(!files)(
      `reads lesions ${how} on ${name}`,
      async () => {
        const bytes = (files as () => Uint8Array<ArrayBuffer>[])();
        const sources = bytes.map((one, n) => memorySource(one, `${n}`));
        const volume = await dicom.read(sources, {});
        const [ni, nj, nk] = volume.dims;
        const segments = Object.entries(lesions).map(([lesion, inside]) => ({
          name: lesion,
          mask: maskOf(volume, (i, j, k) => inside(i / ni, j / nj, k / nk, k)),
        }));
        const seg = await writeDicomSeg(volume, segments);
        // In the order of the volume's slices.
        const ordered = await Promise.all(
          (volume.dicom?.slices ?? []).map(({ file }) => file.read(0, file.size)),
        );
        const read = await evaluateAsText(
          open.page,
          async ([images, segmentation]) => {
            const unpack = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const { adapter } = globalThis as unknown as { adapter: typeof import('./cornerstone-seg.js') };
            return adapter.readByCornerstone(images.map(unpack), unpack(segmentation));
          },
          [
            ordered.map((one) => Buffer.from(one).toString('base64')),
            Buffer.from(seg).toString('base64'),
          ] as const,
        );
        expect(read.names).toEqual(segments.map((segment, n) => [n + 1, segment.name]));
        expect(read.overlapping).toBe(how === 'overlapping');
        for (const [n, { mask }] of segments.entries()) {
          const wanted: string[] = [];
          gridOfCrop(mask).forEach((v, index) => {
            if (v) wanted.push(`${Math.floor(index / (ni * nj))} ${index % (ni * nj)}`);
          });
          expect(wanted.length).toBeGreaterThan(0);
          expect(read.voxels[n + 1].sort().join()).toBe(wanted.sort().join());
        }
      },
      120_000,
    );
  }
});
