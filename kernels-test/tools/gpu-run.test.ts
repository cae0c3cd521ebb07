/** `bench/gpu-run.sh`, rehearsed: what it writes, that parts have limits of their own, and that one that fails stops no other. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CLI } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-gpu-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of what the script looks at: with a fixture that is broken, and no other. */
const copy = join(folder, 'copy');
mkdirSync(join(copy, 'bench'), { recursive: true });
mkdirSync(join(copy, 'fixtures'));
copyFileSync('bench/gpu-run.sh', join(copy, 'bench', 'gpu-run.sh'));
for (const name of ['dist', 'weights', 'node_modules', 'package.json'])
  symlinkSync(resolve(name), join(copy, name));
writeFileSync(join(copy, 'fixtures', 'zoom_loss.safetensors'), 'no fixture');

const run = (...args: string[]) =>
  spawnSync('bash', [join(copy, 'bench', 'gpu-run.sh'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` },
  });

describe.skipIf(process.platform === 'win32')('bench/gpu-run.sh', () => {
  it('goes on after a part that fails, and says what became of each', () => {
    expect(CLI).toBeTruthy();
    const out = join(folder, 'out');
    const args = ['--adapter', fastAdapter(), '--quick', '--parts', 'parity,matrix,doctor', '--out', out];
    const { status, stdout } = run(...args);
    expect(stdout).toMatch(/^parity-zoom_loss +exit 1 +\d+ s {2}\S/m);
    expect(stdout).toMatch(/^parity-sam_med3d_tiny +not begun: there is no fixtures\/sam_med3d_tiny/m);
    expect(stdout).toMatch(/^doctor +ok +\d+ s/m);
    expect(stdout).toMatch(/1 parts failed; everything is in /);
    expect(status).toBe(1);
    const [results = ''] = readdirSync(out);
    expect(results).toMatch(/^\d{4}-\d\d-\d\dT\d{6}-\w/);
    const at = (name: string) => readFileSync(join(out, results, name), 'utf8');
    expect(JSON.parse(at('device.json'))).toMatchObject({
      adapter: { kind: 'software' },
      node: process.version,
    });
    expect(at('summary.txt')).toBe(stdout);
    expect(at('parity-zoom_loss.txt')).toMatch(/zoom_loss\.safetensors/);
  }, 120_000);

  it('begins nothing when the time is up', () => {
    const out = join(folder, 'late');
    const { status, stdout } = run(
      '--adapter',
      fastAdapter(),
      '--quick',
      '--parts',
      'decode',
      '--seconds',
      '0',
      '--out',
      out,
    );
    expect(stdout).toMatch(/^decode +not begun: the time is up$/m);
    expect(status).toBe(0);
  });

  it.each([
    ['an option that there is not', ['--fast']],
    ['a part that there is not', ['--parts', 'parity,dance']],
    ['no number of seconds', ['--seconds', 'ten']],
    ['an option without its value', ['--out']],
  ])('refuses %s, and shows how it is used', (_, args) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(2);
    expect(stderr).toContain('bash bench/gpu-run.sh [--adapter NAME]');
  });
});
