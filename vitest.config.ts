import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { wgslModule } from './tools/wgsl.mjs';

/** Shaders as the bundles have them. */
const wgsl = {
  name: 'wgsl',
  load: (id: string) => (id.endsWith('.wgsl') ? wgslModule(id, readFileSync(id, 'utf8')) : null),
};

export default defineConfig({
  plugins: [wgsl],
  // The examples' import, as these tests have the engine.
  resolve: { alias: { 'sgp-sam/engine': new URL('src/engine.node.ts', import.meta.url).pathname } },
  // As tools/build.mjs does.
  define: { __VERSION__: JSON.stringify(JSON.parse(readFileSync('package.json', 'utf8')).version) },
  test: {
    include: ['kernels-test/**/*.test.ts', 'src/**/*.test.ts'],
    // One GPU test file at a time: a software adapter uses every core already.
    fileParallelism: false,
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
