import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { findBrowser, withPage } from '../support/page.js';

const browser = findBrowser();
if (!browser) console.log('skipped: no Chromium (optional package @sparticuz/chromium, or the system’s)');

test.skipIf(!browser)('a page computes through WebGPU on SwiftShader', async () => {
  const result = await withPage((page) =>
    page.evaluate(async () => {
      const adapter = await navigator.gpu.requestAdapter();
      if (!adapter) return { architecture: 'none', values: [] };
      const device = await adapter.requestDevice();
      const code = `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] = id.x * id.x; }`;
      const pipeline = device.createComputePipeline({
        layout: 'auto',
        compute: { module: device.createShaderModule({ code }) },
      });
      const out = device.createBuffer({ size: 32, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
      const read = device.createBuffer({
        size: 32,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(
        0,
        device.createBindGroup({
          layout: pipeline.getBindGroupLayout(0),
          entries: [{ binding: 0, resource: { buffer: out } }],
        }),
      );
      pass.dispatchWorkgroups(2);
      pass.end();
      encoder.copyBufferToBuffer(out, 0, read, 0, 32);
      device.queue.submit([encoder.finish()]);
      await read.mapAsync(GPUMapMode.READ);
      return { architecture: adapter.info.architecture, values: [...new Uint32Array(read.getMappedRange())] };
    }),
  );
  expect(result).toEqual({ architecture: 'swiftshader', values: [0, 1, 4, 9, 16, 25, 36, 49] });
});

test.skipIf(!browser)(
  'openDevice in a page: opens, announces, adopts, and refuses what is not there',
  async () => {
    const bundle = await build({
      stdin: {
        contents: `export { openDevice } from './src/engine/gpu/open.ts'; export { proveCompute } from './src/engine/gpu/probe.ts';`,
        resolveDir: process.cwd(),
        loader: 'ts',
      },
      bundle: true,
      platform: 'browser',
      format: 'iife',
      globalName: 'engine',
      write: false,
    });
    const result = await withPage(async (page) => {
      await page.addScriptTag({ content: bundle.outputFiles[0].text });
      return page.evaluate(async () => {
        const { openDevice, proveCompute } = (globalThis as unknown as { engine: Engine }).engine;
        const lines: string[] = [];
        const announce = (line: string) => lines.push(line);
        const gpu = await openDevice({ announce });
        const guest = await openDevice({ device: gpu.device, announce });
        guest.dispose();
        const proof = await proveCompute(gpu);
        const refused = await openDevice({ adapter: 'hardware', announce }).catch((error) => error.code);
        const named = await openDevice({ adapter: 'swiftshader', announce });
        const other = await openDevice({ adapter: 'lavapipe', announce }).catch((error) => error.code);
        return {
          ok: proof.ok,
          adapter: gpu.adapter,
          guest: guest.adapter,
          named: named.adapter,
          refused,
          other,
          lines,
        };
      });
    });
    expect(result).toMatchObject({
      ok: true,
      adapter: { kind: 'software', source: 'browser' },
      guest: { kind: 'software', source: 'adopted' },
      named: { kind: 'software', source: 'browser' },
      refused: 'no-adapter',
      other: 'no-adapter',
    });
    expect(result.lines).toHaveLength(3);
  },
);

interface Engine {
  openDevice: typeof import('../../src/engine/gpu/open.js').openDevice;
  proveCompute: typeof import('../../src/engine/gpu/probe.js').proveCompute;
}
