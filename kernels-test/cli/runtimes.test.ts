/** The built command line and the package in Deno and Bun: `npm run test:runtimes`, which names the programs. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { runtimeOf } from '../../src/engine/gpu/node/runtime.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { writeVolume } from '../../src/imaging/nifti-write.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { configByName } from '../../src/sam/config.js';
import { runCli } from '../support/cli.js';
import { fastAdapter } from '../support/gpu.js';
import { fixtureBytes, samFixture } from './fixtures.js';
import { put, scratchFolder, shared } from './support.js';

interface Runtime {
  readonly name: 'Deno' | 'Bun';
  readonly webgpu: 'wgpu' | 'Dawn';
  /** The program and what it takes before a script; undefined where none is named. */
  readonly command: readonly string[] | undefined;
}

const { SGP_SAM_DENO: deno, SGP_SAM_BUN: bun } = process.env;
const RUNTIMES: readonly Runtime[] = [
  { name: 'Deno', webgpu: 'wgpu', command: deno ? [deno, 'run', '--allow-all'] : undefined },
  { name: 'Bun', webgpu: 'Dawn', command: bun ? [bun] : undefined },
];
for (const { name, command } of RUNTIMES)
  if (!command) console.log(`skipped: no ${name} is named (npm run test:runtimes does)`);

const scratch = scratchFolder();
const adapter = fastAdapter();
const timeoutMs = 590_000;

interface Report {
  rows: { stage: string; relativeL2: number; ok: boolean }[];
  ms: number;
}

/** The voxels of the demo's mask, as this program makes it. */
async function maskOf(runtime: readonly string[] | undefined, name: string): Promise<ArrayLike<number>> {
  const { volume, lesions } = makePhantom({ seed: 1 });
  const scan = put(scratch, 'phantom.nii.gz', writeVolume(volume, 'phantom.nii.gz'));
  const point = lesions[0].voxel.map(Math.round).join();
  const output = join(scratch, `${name}.nii.gz`);
  const args = ['segment', scan, '--point', point, '-o', output, '--adapter', adapter, '-q'];
  const { code, stderr } = await runCli(args, { ...(runtime ? { runtime } : {}), timeoutMs });
  expect(code, stderr).toBe(0);
  return (await readNiftiFile(output)).data;
}

describe.each(RUNTIMES.filter(({ command }) => command))('$name', ({ name, webgpu, command }) => {
  const runtime = command as readonly string[];
  const run = (args: readonly string[]) => runCli(args, { runtime, timeoutMs });

  it('is named by doctor, with its WebGPU, and computes rightly', async () => {
    const { code, stdout, stderr } = await run(['doctor', '--json']);
    expect(code, stderr).toBe(0);
    const report = JSON.parse(stdout) as {
      runtime: string;
      webgpu: string;
      adapters: { adapter: { description: string }; proof: { ok: boolean } }[];
    };
    expect(report.runtime).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+$`));
    expect(report.webgpu).toBe(webgpu);
    expect(report.adapters.length).toBeGreaterThan(0);
    for (const { proof } of report.adapters) expect(proof.ok).toBe(true);
    console.log(report.runtime, webgpu, report.adapters.map(({ adapter }) => adapter.description).join('; '));
  });

  it('is within tolerance of the original: a fixture made here, and the shared tiny ones', async () => {
    const made = samFixture(configByName('tiny'), 5, { points: [[20, 24, 30]], labels: [1] });
    const files = [
      put(scratch, 'made.safetensors', fixtureBytes(made)),
      ...['sam_med3d_tiny', 'sgp_sam_tiny'].map((one) => shared(`fixtures/${one}.safetensors`)),
    ].filter((file) => file !== undefined);
    for (const file of files) {
      const { stdout, stderr } = await run(['parity', file, '--json', '-q', '--adapter', adapter]);
      expect(stdout, stderr).toMatch(/^\{/);
      const report = JSON.parse(stdout) as Report;
      expect(report.rows.length).toBeGreaterThan(20);
      expect(report.rows.filter(({ ok }) => !ok)).toEqual([]);
      const worst = Math.max(...report.rows.map(({ relativeL2 }) => relativeL2));
      console.log(
        `${name}: ${file}: ${report.rows.length} rows, worst relative L2 ${worst.toExponential(1)}, ${(report.ms / 1000).toFixed(1)} s`,
      );
    }
  });

  it('gives the mask that Node gives', async () => {
    const [node, other] = [await maskOf(undefined, 'node'), await maskOf(runtime, name)];
    const voxels = Array.from(node).filter((v) => v > 0).length;
    const apart = Array.from(node).filter((v, n) => v !== other[n]).length;
    console.log(`${name}: ${voxels} voxels, ${apart} other than in Node`);
    expect(voxels).toBeGreaterThan(1000);
    // Other kernels sum in another order: voxels whose logit is nearly 0 may differ.
    expect(apart).toBeLessThanOrEqual(voxels / 1000);
  });

  it("finds the package's entry for Node, and opens a device there", async () => {
    const packages = join(scratch, name, 'node_modules');
    mkdirSync(packages, { recursive: true });
    symlinkSync(resolve('.'), join(packages, 'sgp-sam'));
    // As npm install leaves it: Deno takes packages of node_modules where a package.json names them.
    put(scratch, `${name}/package.json`, '{ "type": "module", "dependencies": { "sgp-sam": "*" } }');
    const script = put(
      scratch,
      `${name}/script.mjs`,
      `import { openDevice } from 'sgp-sam';
      const gpu = await openDevice({ adapter: ${JSON.stringify(adapter)} });
      console.log(import.meta.resolve('sgp-sam').split('/').at(-1), gpu.adapter.source);
      gpu.dispose();`,
    );
    const { code, stdout, stderr } = await runCli([], { runtime, script, timeoutMs });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^node\.js (lavapipe|swiftshader|system)\n$/);
  });
});

test('a runtime is named by what it says of itself', () => {
  expect(runtimeOf({ node: '24.0.0', bun: '1.4.5' })).toBe('Bun 1.4.5');
  expect(runtimeOf({ node: '24.0.0', deno: '2.9.6' })).toBe('Deno 2.9.6');
  expect(runtimeOf({ node: '20.20.2' })).toBe('Node v20.20.2');
});
