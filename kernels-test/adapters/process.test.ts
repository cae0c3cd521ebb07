/** What can only be seen from outside the process that opens a device. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { unpackOnce } from '../../src/engine/gpu/node/cache.js';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';
import { runChild } from '../support/child.js';

const bundled = swiftShaderPackage() !== undefined;
if (!bundled) console.log('skipped: the optional package @sparticuz/chromium is not installed');

const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const OPEN = `import { openDevice } from './src/engine/gpu/node/open.ts';
import { proveCompute } from './src/engine/gpu/probe.ts';
`;

test.skipIf(!bundled)('a process exits by itself once its device is disposed of', async () => {
  const child = await runChild(
    `${OPEN}
    const gpu = await openDevice({ adapter: 'swiftshader', lowerPriority: true });
    const { ok } = await proveCompute(gpu);
    gpu.dispose();
    globalThis.kept = gpu;
    console.log(ok ? 'right' : 'wrong');`,
    { timeoutMs: 15_000 },
  );
  expect(child).toMatchObject({ code: 0, stdout: 'right\n' });
  expect(child.stderr).toContain('SwiftShader');
});

test.skipIf(process.platform !== 'linux')(
  'without any driver the error says what was looked for',
  async () => {
    const child = await runChild(
      `${OPEN} await openDevice().catch((error) => console.log(JSON.stringify([error.code, error.message])));`,
      { env: { VK_LOADER_DRIVERS_DISABLE: '*', TMPDIR: scratch } },
    );
    const [code, message] = JSON.parse(child.stdout) as [string, string];
    expect(code).toBe('no-adapter');
    for (const word of ['system', 'lavapipe', 'SwiftShader', 'VK_LOADER_DRIVERS_DISABLE', 'npm install']) {
      if (word !== 'VK_LOADER_DRIVERS_DISABLE' || bundled) expect(message).toContain(word);
    }
  },
);

test('doctor fails without an adapter and says so', async () => {
  const child = await runChild(
    `import { doctor } from './src/cli/doctor.ts';
    process.exitCode = await doctor({ write: (text) => process.stdout.write(text) });`,
    { env: { VK_LOADER_DRIVERS_DISABLE: '*', TMPDIR: scratch } },
  );
  if (process.platform === 'linux') expect(child).toMatchObject({ code: 1 });
  if (process.platform === 'linux') expect(child.stdout).toMatch(/No adapter\.[\s\S]*Not usable:/);
});

test.skipIf(!bundled)('doctor names the adapter that auto takes, for people and for programs', async () => {
  const child = await runChild(
    `import { doctor } from './src/cli/doctor.ts';
    let json = '';
    const code = await doctor({ json: true, write: (text) => { json += text; } });
    process.exitCode = (await doctor({ write: (text) => process.stderr.write(text) })) + code;
    console.log(json);`,
  );
  expect(child.code).toBe(0);
  expect(child.stderr).toContain('<- auto takes this one');
  const report = JSON.parse(child.stdout) as { adapters: { auto: boolean; proof: { ok: boolean } }[] };
  expect(report.adapters.filter((finding) => finding.auto)).toHaveLength(1);
  expect(report.adapters.every((finding) => finding.proof.ok)).toBe(true);
});

test.skipIf(!bundled)('several processes may unpack SwiftShader at once', async () => {
  const tmp = mkdtempSync(join(scratch, 'fresh-'));
  const source = `${OPEN}
    const gpu = await openDevice({ adapter: 'swiftshader' });
    console.log((await proveCompute(gpu)).ok);
    gpu.dispose();`;
  const children = await Promise.all([0, 1, 2].map(() => runChild(source, { env: { TMPDIR: tmp } })));
  for (const child of children) expect(child).toMatchObject({ code: 0, stdout: 'true\n' });
  const folders = readdirSync(tmp).flatMap((name) => readdirSync(join(tmp, name)));
  expect(folders).toEqual([expect.stringMatching(/^swiftshader-\d/)]);
});

/** Whether this user may hide a file from a child, as root in a container may. */
function canHideFiles(): boolean {
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function vulkanLoader(): string | undefined {
  try {
    const path = '/usr/lib/x86_64-linux-gnu/libvulkan.so.1';
    return execFileSync('readlink', ['-f', path], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return undefined;
  }
}

test.skipIf(!bundled || !canHideFiles())('SwiftShader needs no Vulkan loader of the system', async () => {
  const loader = vulkanLoader();
  const empty = join(scratch, 'empty');
  writeFileSync(empty, '');
  const hide = loader ? `mount --bind ${empty} ${loader} && ` : '';
  const child = await runChild(
    `${OPEN}
    const gpu = await openDevice({ adapter: 'swiftshader' });
    console.log((await proveCompute(gpu)).ok);
    gpu.dispose();`,
    { wrap: ['unshare', '-m', 'sh', '-c', `${hide}exec "$@"`, 'sh'] },
  );
  expect(child).toMatchObject({ code: 0, stdout: 'true\n' });
});

test('a damaged cache is unpacked again, and a folder that others may write to is not used', () => {
  const before = { TMPDIR: process.env.TMPDIR, HOME: process.env.HOME };
  const tmp = mkdtempSync(join(scratch, 'cache-'));
  process.env.TMPDIR = tmp;
  process.env.HOME = join(tmp, 'home');
  try {
    const files = () => new Map([['a/b.txt', { data: new TextEncoder().encode('hello'), mode: 0o644 }]]);
    let unpacked = 0;
    const counted = () => {
      unpacked++;
      return files();
    };
    const folder = unpackOnce('thing-1', counted);
    expect(unpackOnce('thing-1', counted)).toBe(folder);
    expect(unpacked).toBe(1);
    rmSync(join(folder, 'a/b.txt'));
    expect(unpackOnce('thing-1', counted)).toBe(folder);
    expect(unpacked).toBe(2);
    expect(readdirSync(join(folder, 'a'))).toEqual(['b.txt']);
    if (process.platform === 'win32') return;
    execFileSync('chmod', ['777', join(folder, '..')]);
    expect(unpackOnce('thing-1', counted)).toContain(join('home', '.cache', 'sgp-sam'));
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});
