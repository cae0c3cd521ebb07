import { createReadStream, statSync } from 'node:fs';
import type { Server } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, resolve, sep } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { chromium, firefox } from 'playwright-core';
import { type Browser as Found, findBrowser } from './browser.js';

export { findBrowser } from './browser.js';

export interface PageOptions {
  /** URL prefixes ending in `/` and the folders they show. */
  serve?: Record<string, string>;
  /** Further headers of all that is served. */
  headers?: Record<string, string>;
  /** Chromium computes on SwiftShader, whatever the tests are on. */
  webgpu?: 'swiftshader';
  /** Further flags for Chromium; Firefox has none. */
  args?: readonly string[];
  /** Addresses that are never answered. */
  never?: string;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const FLAGS = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
  '--no-sandbox',
  '--no-zygote',
  '--disable-dev-shm-usage',
];

/** WebGPU, and WebGL for what draws, where the CPU is all there is. */
const PREFERENCES = {
  'dom.webgpu.enabled': true,
  'dom.webgpu.workers.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
  'webgl.force-enabled': true,
  // The list of downloads takes the keyboard from the page.
  'browser.download.alwaysOpenPanel': false,
};

function launch({ kind, executable, env }: Found, flags: readonly string[]): Promise<Browser> {
  if (kind === 'chromium')
    return chromium.launch({
      executablePath: executable,
      args: [...FLAGS, ...flags],
      env: { ...process.env, ...env } as Record<string, string>,
    });
  return firefox.launch({
    channel: 'moz-firefox',
    executablePath: resolve('kernels-test/support/firefox-shim.mjs'),
    firefoxUserPrefs: PREFERENCES,
    // WebGL needs a screen: Xvfb, say, where one is given.
    headless: !process.env.DISPLAY,
    env: { ...process.env, ...env, SGP_SAM_FIREFOX_PROGRAM: executable } as Record<string, string>,
    timeout: 120_000,
  });
}

export interface OpenPage {
  readonly page: Page;
  /** The root of a server on localhost, and so a secure context, that shows the folders of `serve`; `/` is empty unless served. */
  readonly url: string;
  close(): Promise<void>;
}

/** Opens a page of a fresh headless Chromium on a software adapter, or of Firefox on lavapipe where SGP_SAM_BROWSER says so. */
export async function openPage(options: PageOptions = {}): Promise<OpenPage> {
  const found = findBrowser(options.webgpu);
  if (!found) throw new Error('no Chromium: npm install @sparticuz/chromium, or apt-get install chromium');
  const server = await serveFolders(options.serve ?? {}, options.headers);
  let browser: Browser | undefined;
  const close = async () => {
    await browser?.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  try {
    browser = await launch(found, options.args ?? []);
    const page = await browser.newPage();
    const url = `http://localhost:${(server.address() as AddressInfo).port}/`;
    if (options.never) await page.route(options.never, () => {});
    await page.goto(url);
    return { page, url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs `body` with such a page, which is gone afterwards. */
export async function withPage<T>(
  body: (page: Page, url: string) => Promise<T>,
  options: PageOptions = {},
): Promise<T> {
  const { page, url, close } = await openPage(options);
  try {
    return await body(page, url);
  } finally {
    await close();
  }
}

/** Imports a module as a page does, and leaves its exports as the global `name`. */
export async function loadModule(page: Page, url = '/dist/browser.js', name = 'bundle'): Promise<void> {
  const content = `import * as all from '${url}'; globalThis.${name} = all;`;
  await page.addScriptTag({ type: 'module', content });
  await page.waitForFunction(`globalThis.${name} !== undefined`);
}

/**
 * What `page.evaluate` gives, sent as one text: element by element, as Playwright sends arrays, a few masks take minutes. Numbers that
 * JSON does not have (-0, NaN, infinities) come as they are. The page must allow `eval`.
 */
export async function evaluateAsText<A, R>(
  page: Page,
  work: (given: A) => R | Promise<R>,
  given: A,
): Promise<R> {
  const text = await page.evaluate(
    async ({ code, given }) =>
      JSON.stringify(await new Function(`return ${code}`)()(given), (_, v) =>
        Object.is(v, -0)
          ? { number: '-0' }
          : Number.isFinite(v) || typeof v !== 'number'
            ? v
            : { number: `${v}` },
      ),
    { code: work.toString(), given },
  );
  return JSON.parse(text, (_, v) => (typeof v?.number === 'string' ? Number(v.number) : v)) as R;
}

async function serveFolders(
  folders: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Server> {
  // The longest prefix wins, so that `/` can be served beside others.
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    const prefix = prefixes.find((candidate) => path.startsWith(candidate));
    const file = prefix && fileBelow(folders[prefix], path.slice(prefix.length) || 'index.html');
    if (file) {
      const type = TYPES[extname(file.path)] ?? 'application/octet-stream';
      response.writeHead(200, {
        'content-type': type,
        'content-length': file.size,
        'cache-control': 'no-store',
        ...headers,
      });
      createReadStream(file.path).pipe(response);
    } else {
      const blank = path === '/';
      response.writeHead(blank ? 200 : 404, { 'content-type': 'text/html' });
      response.end(blank ? '<!doctype html><title>test</title>' : '');
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

function fileBelow(folder: string, relative: string): { path: string; size: number } | undefined {
  const root = resolve(folder);
  const path = join(root, relative);
  if (!path.startsWith(root + sep)) return undefined;
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? { path, size: stat.size } : undefined;
}
