import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { defineConfig } from 'vitest/config';
import { SUITES, type Suite, suiteOf, testFiles } from './kernels-test/support/suites.js';
import { wgslModule } from './tools/wgsl.mjs';

/** Shaders as the bundles have them. */
const wgsl = {
  name: 'wgsl',
  load: (id: string) => (id.endsWith('.wgsl') ? wgslModule(id, readFileSync(id, 'utf8')) : null),
};

/** WebAssembly as bytes, as the bundler has it. */
const wasm = {
  name: 'wasm',
  enforce: 'pre' as const,
  resolveId: (id: string) => (/^@cornerstonejs\/codec-\w+\/decodewasm$/.test(id) ? `\0bytes:${id}` : null),
  load: (id: string) =>
    id.startsWith('\0bytes:')
      ? `import { readFileSync } from 'node:fs'; import { createRequire } from 'node:module';
export default new Uint8Array(readFileSync(createRequire(${JSON.stringify(import.meta.url)}).resolve(${JSON.stringify(id.slice(7))})));`
      : null,
};

const files = testFiles().map((file) => ({ file, suite: suiteOf(file) }));

/**
 * Files beside one another. With a device or processes two at a time: the most of what they do, references in float64, starting and
 * compiling, takes one core, and what takes every core takes turns.
 */
const suite = (name: Suite, groupOrder: number) => ({
  extends: true as const,
  ...(name === 'pure'
    ? { resolve: { alias: { webgpu: resolve('kernels-test/support/no-webgpu.ts') } } }
    : {}),
  test: {
    name,
    include: files.filter(({ suite }) => suite === name).map(({ file }) => file),
    sequence: { groupOrder },
    maxWorkers: name === 'pure' ? availableParallelism() : Math.min(2, availableParallelism()),
    // Tests that say so start their processes beside one another.
    maxConcurrency: availableParallelism(),
    // Pages and processes that compile everything anew, where nothing of it is cached yet.
    ...(name === 'e2e' ? { testTimeout: 400_000, hookTimeout: 400_000 } : {}),
  },
});

export default defineConfig({
  plugins: [wgsl, wasm],
  // The examples' import, as these tests have the engine.
  resolve: { alias: { 'sgp-sam/engine': new URL('src/engine.node.ts', import.meta.url).pathname } },
  // As tools/build.mjs does.
  define: { __VERSION__: JSON.stringify(JSON.parse(readFileSync('package.json', 'utf8')).version) },
  test: {
    projects: SUITES.map((name, order) => suite(name, order + 1)),
    tags: [
      {
        name: 'long',
        description: 'minutes on SwiftShader: not in npm test there, but in npm run test:long',
      },
    ],
    // Times first: what Vitest ends with stays the end.
    reporters: ['./tools/suite-times.ts', 'default'],
    pool: 'forks',
    setupFiles: ['kernels-test/support/equality.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // As Playwright's own waiting: Vitest's second is less than a busy page takes.
    expect: { poll: { timeout: 60_000 } },
  },
});
