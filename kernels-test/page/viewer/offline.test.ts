/** The viewer as a static folder: under its own Content-Security-Policy, and without a network once it was kept. */
import { execFile, execFileSync } from 'node:child_process';
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ByteSource, memorySource } from '../../../src/base/byte-source.js';
import { readVolume } from '../../../src/imaging/formats/open.js';
import { phantom, put, shared, writeVolume } from '../../cli/support.js';
import { has, series, slice } from '../../imaging/formats/support.js';
import { type OpenPage, openPage } from '../../support/page.js';
import { writeFiles } from './drop.js';
import { noBrowser, VIEWER } from './viewer.js';

const run = promisify(execFile);
const write = (folder: string) => run(process.execPath, ['tools/viewer.mjs', '--dist', folder]);
const TYPES: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
};

let scratch: string;
let site: string;
let server: Server;
let opened: OpenPage;
let headers: Record<string, string>;
const refused: string[] = [];

/** Any web server: files, and the headers that the folder asks for. */
function serve(): Promise<Server> {
  const made = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = join(site, pathname.endsWith('/') ? `${pathname}index.html` : pathname);
    const there = statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(there ? 200 : 404, { ...headers, 'Content-Type': type });
    if (there) createReadStream(file).pipe(response);
    else response.end();
  });
  return new Promise((done) => made.listen(0, '127.0.0.1', () => done(made)));
}

// A page that compiles on the CPU lets a reload wait for it.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 200_000 });

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'sgp-sam-site-'));
  site = join(scratch, 'site');
  await write(site);
  const lines = readFileSync(join(site, '_headers'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('  '));
  headers = Object.fromEntries(
    lines.map((line) => {
      const [name, ...value] = line.trim().split(': ');
      return [name, value.join(': ')];
    }),
  );
  if (noBrowser) return;
  put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
  server = await serve();
  opened = await openPage({ args: VIEWER.args ?? [] });
  opened.page.setDefaultTimeout(200_000);
  opened.page.setDefaultNavigationTimeout(200_000);
  opened.page.on('console', (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) refused.push(message.text());
  });
  await opened.page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
});

afterAll(async () => {
  await opened?.close();
  server?.closeAllConnections();
  server?.close();
  rmSync(scratch, { recursive: true, force: true });
});

/** Waits for what an expression says; `waitForFunction` evaluates in the page, which its policy forbids. */
const until = (expression: string, timeout = 100_000) =>
  expect.poll(() => opened.page.evaluate(expression), { timeout }).toBe(true);
const shown = async () => {
  const { page } = opened;
  await page.setInputFiles('#file', join(scratch, 'head.nii.gz'));
  await until('viewer.stage.scan?.name === "head.nii.gz"');
};
/** The engine has its weights: it compiles, or is done with that. */
const weighted = () =>
  until(
    `/Compiling/.test(document.querySelector('#work-name').textContent) || /is ready/.test(document.querySelector('#status').textContent)`,
    100_000,
  );

const formats = shared('data/formats');
const odd = { columns: 33, rows: 21 };
const fromDisk = (path: string) => memorySource(readFileSync(path), `x/${basename(path)}`);

/** A series that one of dcmtk's commands compressed. */
function packedBy(count: number, [command, ...options]: readonly [string, ...string[]]): ByteSource[] {
  return series(count, () => odd).map((file, n) => {
    const [plain, packed] = [join(scratch, 'plain.dcm'), join(scratch, `${command}${n}.dcm`)];
    writeFileSync(plain, slice({ ...odd, position: [0, 0, 2.5 * n], instance: n + 1 }));
    execFileSync(command, [...options, plain, packed], { stdio: 'pipe' });
    return memorySource(readFileSync(packed), file.name);
  });
}

describe.skipIf(noBrowser)('the static folder', () => {
  test('lets nothing in or out but itself', () => {
    expect(headers['Content-Security-Policy']).toMatch(
      /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; .*connect-src 'self'/,
    );
  });

  test('works under its own policy: a scan, and weights in the worker', async () => {
    await shown();
    await weighted();
    expect(refused).toEqual([]);
  });

  test('unpacks what WebAssembly unpacks, and what scripts do, under that policy: values are those in Node', async () => {
    const { page } = opened;
    const packed = readFileSync('kernels-test/imaging/formats/htj2k-33x21.j2c');
    const files: Record<string, readonly ByteSource[]> = {
      'jpeg-2000': series(3, () => ({ ...odd, syntax: '1.2.840.10008.1.2.4.201', packed })),
      ...(has.dcmtk
        ? {
            rle: packedBy(4, ['dcmcrle']),
            'jpeg-lossless': packedBy(5, ['dcmcjpeg', '+e1']),
            'jpeg-ls': packedBy(6, ['dcmcjpls']),
          }
        : {}),
      ...(formats ? { scanner: [fromDisk(join(formats, 'dicom_compressed_pydicom/693_J2KR.dcm'))] } : {}),
    };
    for (const [name, own] of Object.entries(files)) {
      const want = await readVolume(own);
      const folder = await writeFiles(join(scratch, name), own);
      await page.setInputFiles(
        '#file',
        readdirSync(folder).map((file) => join(folder, file)),
      );
      // Each has another number of slices: what was opened before may come in sight again when the weights are there.
      const values = `String(viewer.stage.scan?.dims) === '${want.dims}' ? JSON.stringify(Array.from(viewer.stage.nv.volumes[0].img)) : 'null'`;
      let seen: number[] | undefined;
      await expect
        .poll(
          async () => {
            // As a text: Playwright takes lists apart, element by element.
            seen = JSON.parse(await page.evaluate<string>(values)) ?? undefined;
            return seen?.length;
          },
          { timeout: 100_000 },
        )
        .toBe(want.data.length);
      const first = want.data.findIndex((v, n) => v !== seen?.[n]);
      expect(first, `${name}: ${want.data[first]}, and in the page ${seen?.[first]}`).toBe(-1);
    }
    expect(refused).toEqual([]);
    expect(await page.isVisible('#error')).toBe(false);
  });

  test('says in its manifest what it is called, and has the icon it names', async () => {
    const manifest = JSON.parse(readFileSync(join(site, 'manifest.webmanifest'), 'utf8'));
    expect(manifest).toMatchObject({ name: 'sgp-sam viewer', start_url: './', display: 'standalone' });
    expect(statSync(join(site, manifest.icons[0].src)).isFile()).toBe(true);
  });

  test('keeps nothing unasked', async () => {
    const { page } = opened;
    expect(await page.evaluate('navigator.serviceWorker.getRegistrations().then((all) => all.length)')).toBe(
      0,
    );
  });

  test('once kept, opens without a network, with its weights, and a scan', async () => {
    const { page } = opened;
    await page.click('#about');
    await page.click('#offline');
    await until('document.querySelector("#offline-state").textContent.startsWith("Kept")');
    const { port } = server.address() as AddressInfo;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    await page.reload();
    await until('globalThis.viewer !== undefined');
    await shown();
    await weighted();
    await expect(fetch(`http://localhost:${port}/`)).rejects.toThrow();
    expect(await page.isVisible('#error')).toBe(false);
  });

  test('is kept no longer when asked so', async () => {
    const { page } = opened;
    await page.click('#about');
    await until('document.querySelector("#offline").getAttribute("aria-pressed") === "true"');
    await page.click('#offline');
    await until('document.querySelector("#offline").getAttribute("aria-pressed") === "false"');
    const left = await page.evaluate('caches.keys()');
    expect(left).not.toContainEqual(expect.stringMatching(/^sgp-sam-page-/));
  });
});

describe('npm run viewer -- --dist', () => {
  test('replaces an earlier viewer, and writes nothing over other files', async () => {
    await write(site);
    const other = join(scratch, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'thesis.txt'), 'mine');
    const failed = await write(other).catch((error: { code: number; stderr: string }) => error);
    expect(failed).toMatchObject({ code: 2, stderr: expect.stringContaining('holds other files') });
    expect(readFileSync(join(other, 'thesis.txt'), 'utf8')).toBe('mine');
  });

  test('refuses a file for a folder, and a port beside a folder', async () => {
    const file = join(scratch, 'file');
    writeFileSync(file, '');
    expect(await write(file).catch((error: { code: number }) => error)).toMatchObject({ code: 2 });
    const both = run(process.execPath, ['tools/viewer.mjs', '8000', '--dist', join(scratch, 'x')]);
    expect(await both.catch((error: { code: number }) => error)).toMatchObject({ code: 2 });
  });
});
