import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Shaders are imported as text, exactly as esbuild's `text` loader does for the bundles. */
const wgslAsText = {
  name: 'wgsl-as-text',
  load(id: string) {
    if (!id.endsWith('.wgsl')) return null;
    return `export default ${JSON.stringify(readFileSync(id, 'utf8'))};`;
  },
};

export default defineConfig({
  plugins: [wgslAsText],
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
