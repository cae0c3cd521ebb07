/** What examples/ and the engine's pages show runs as it stands there, on the package's own name. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from './support/cli.js';
import { fastAdapter, testAdapter } from './support/gpu.js';

/** SwiftShader compiles for a minute. */
const SLOW = 300_000;

/** The JavaScript blocks of a page. */
const blocksOf = (page: string): string[] =>
  [...readFileSync(page, 'utf8').matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code as string);

/** Runs a module. The package's own name is found from its folder alone. */
async function run(code: string) {
  const folder = mkdtempSync(resolve('node_modules', '.example-'));
  const file = join(folder, 'example.mjs');
  writeFileSync(file, code.replaceAll("'sgp-sam/engine'", JSON.stringify(resolve('dist/engine.node.js'))));
  try {
    return await runCli([], { script: file });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('examples/mlp.mjs learns its spirals', { timeout: SLOW }, async () => {
  const { code, stdout, stderr } = await runCli([fastAdapter(), '150'], {
    script: 'examples/mlp.mjs',
    timeoutMs: SLOW,
  });
  expect(code, stderr).toBe(0);
  const [, right = '0'] = /(\d+) of 256 new points/.exec(stdout) ?? [];
  expect(Number(right)).toBeGreaterThan(240);
  const lines = readFileSync('examples/mlp.mjs', 'utf8').split('\n');
  expect(
    lines.filter((line) => line.trim() !== '' && !/^\s*(\/\/|\*|\/\*)/.test(line)).length,
  ).toBeLessThanOrEqual(60);
});

test('examples/unet.mjs lowers its loss', { timeout: SLOW }, async () => {
  const { code, stdout, stderr } = await runCli([fastAdapter(), '12'], {
    script: 'examples/unet.mjs',
    timeoutMs: SLOW,
  });
  expect(code, stderr).toBe(0);
  const losses = [...stdout.matchAll(/loss ([\d.e-]+)/g)].map(([, loss]) => Number(loss));
  expect(losses.length).toBeGreaterThan(1);
  expect(losses.at(-1)).toBeLessThan(0.5 * (losses[0] as number));
  expect(readFileSync('examples/unet.mjs', 'utf8').split('\n').length).toBeLessThanOrEqual(150);
});

test('the first block of docs/engine.md prints gelu of the product', async () => {
  const [block = ''] = blocksOf('docs/engine.md');
  const code = block.replace('openDevice()', `openDevice({ adapter: ${JSON.stringify(testAdapter())} })`);
  const { code: status, stdout, stderr } = await run(`${code}\nprocess.exit(0);`);
  expect(status, stderr).toBe(0);
  const values = [...stdout.matchAll(/-?\d+\.?\d*/g)].map(([value]) => Number(value));
  // Each element is gelu of half the row's sum: 3 and 7.5, where gelu is next to nothing less than the identity.
  expect(stdout).toContain('Float32Array(8)');
  expect(values.filter((v) => Math.abs(v - 2.99595) < 1e-4).length).toBe(4);
  expect(values.filter((v) => Math.abs(v - 7.5) < 1e-4).length).toBe(4);
});

test('the operation of docs/operations.md is right, and so is its gradient', async () => {
  const [block = ''] = blocksOf('docs/operations.md');
  const { code, stdout, stderr } = await run(`${block}
import { Engine, Graph, gradients, openDevice, Program } from 'sgp-sam/engine';
const g = new Graph();
const x = g.input('x', [3]);
const y = g.output('y', square(x));
g.output('dx', gradients(g, new Map([[y, g.input('dy', [3])]]), [x]).get(x));
const program = await Program.compile(new Engine(await openDevice({ adapter: ${JSON.stringify(testAdapter())} })), g);
program.write('x', new Float32Array([1, 2, -3]));
program.write('dy', new Float32Array([1, 10, 100]));
await program.run();
console.log(JSON.stringify([[...(await program.read('y'))], [...(await program.read('dx'))]]));
process.exit(0);`);
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toEqual([
    [1, 4, 9],
    [2, 40, -600],
  ]);
});
