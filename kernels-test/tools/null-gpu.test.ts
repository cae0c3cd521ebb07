/**
 * Every kernel that the rules pick on an AMD GPU, as Mesa's compiler makes it without one: nothing spills, nothing takes more than its
 * budget (docs/hardware.md). And what the check is there to find is found.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { figuresOf } from '../../src/engine/gpu/node/isa.js';
import { type NullGpu, openNullGpu } from '../../src/engine/gpu/node/null-gpu.js';
import type { Shader } from '../../src/engine/kernels/wgsl.js';
import budgets from '../../tools/null-gpu/budgets.json' with { type: 'json' };
import { type Compilation, compileCalls, FAMILIES, faultsOf } from '../../tools/null-gpu/kernels.js';

const run = promisify(execFile);

/** One that need not be there, or why it cannot be had. */
const found: NullGpu | string = await openNullGpu('navi31').catch((error: Error) => error.message);
if (typeof found === 'string') console.log(`skipped: ${found}`);
const device = found as NullGpu;
afterAll(() => {
  if (typeof found !== 'string') found.dispose();
});

/** A kernel that keeps so many values of 4 bytes per invocation alive across a barrier. */
function hoarder(values: number): Shader {
  const all = Array.from({ length: values }, (_, i) => i);
  const code = `@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> shared_: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
${all.map((i) => `  let v${i} = x[id.x * ${values}u + ${i}u] * x[id.x + ${i}u];`).join('\n')}
  shared_[lane] = v0;
  workgroupBarrier();
  var sum = shared_[63u - lane];
${all.map((i) => `  sum = sum * v${values - 1 - i} + v${i};`).join('\n')}
  y[id.x] = sum;
}`;
  const bindings = [
    { binding: 1, name: 'x', access: 'read' },
    { binding: 2, name: 'y', access: 'read_write' },
  ] as const;
  return { name: 'hoarder', code, bindings, params: [] };
}

describe.skipIf(typeof found === 'string')('kernels on GPUs that are not there', () => {
  it('that the rules pick spill nothing and keep to their budgets, on each family', async () => {
    const begun = performance.now();
    const args = ['tools/null-gpu/table.mjs', '--check'];
    const said = await run(process.execPath, args, { maxBuffer: 1 << 24 }).catch(
      ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ stdout: `${stdout}\n${stderr}` }),
    );
    console.log(`${said.stdout.trim()} (${((performance.now() - begun) / 1000).toFixed(0)} s)`);
    expect(said.stdout).toContain(`for ${FAMILIES.join(', ')} compiled by`);
    expect(said.stdout).toContain('all within their budgets, nothing spills');
  }, 300_000);

  it('that spill are told of', async () => {
    const planted = [{ kernel: 'hoarder', variant: 'planted', shader: hoarder(600) }];
    const { rows } = await compileCalls(device, planted, true);
    const compilation: Compilation = { family: 'navi31', driver: 'another Mesa', rows, refused: [] };
    expect(rows[0]?.figures.spilledVgprs).toBeGreaterThan(50);
    expect(faultsOf(compilation, budgets)).toEqual([
      expect.stringMatching(/^navi31: hoarder planted spills \d+ vector and \d+ scalar registers$/),
    ]);
  });

  it('that take more than their budget are told of, and none that do not', async () => {
    const planted = [{ kernel: 'hoarder', variant: 'planted', shader: hoarder(100) }];
    const { rows } = await compileCalls(device, planted, true);
    const { figures } = rows[0];
    expect(figures).toMatchObject({ spilledVgprs: 0, spilledSgprs: 0, lds: 512, subgroupSize: 64 });
    const { vgprs, waves, lds, code } = figures;
    const compilation: Compilation = { family: 'navi31', driver: budgets.driver, rows, refused: [] };
    const against = (budget: object) =>
      faultsOf(compilation, {
        driver: budgets.driver,
        families: { navi31: { 'hoarder planted': { vgprs, waves, lds, code, ...budget } } },
      });
    expect(against({})).toEqual([]);
    expect(against({ vgprs: vgprs - 12 })).toEqual([expect.stringMatching(/takes \d+ registers of \d+$/)]);
    expect(against({ waves: waves + 1 })).toEqual([expect.stringMatching(/leaves \d+ waves of \d+$/)]);
    expect(against({ lds: 0 })).toEqual([expect.stringMatching(/takes 512 bytes of workgroup memory of 0$/)]);
    expect(against({ code: code / 2 })).toEqual([expect.stringMatching(/bytes long/)]);
    expect(faultsOf(compilation, budgets)).toEqual(['navi31: hoarder planted has no budget']);
  });

  it('are counted: loads by their width, multiply-adds', async () => {
    const code = `@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<vec4f, 64>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  tile[lane] = x[id.x];
  workgroupBarrier();
  let v = tile[63u - lane];
  y[id.x] = fma(v.x, v.y, fma(v.z, v.w, v.x));
}`;
    const shader = { ...hoarder(1), name: 'counted', code };
    const figures = figuresOf(await device.compile(shader), true);
    expect(figures).toMatchObject({
      lds16: 1,
      lds4: 0,
      buffer16: 1,
      buffer4: 0,
      multiplyAdds: 2,
      matrices: 0,
    });
  });
});
