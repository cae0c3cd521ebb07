/** A TypeScript module of this checkout for a tool, through a bundle of its own that is gone afterwards. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { wgslPlugin } from './wgsl.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** @param file below the repository's root */
export async function load(file) {
  const folder = await mkdtemp(join(root, 'node_modules', '.tool-'));
  const outfile = join(folder, 'tool.mjs');
  try {
    await build({
      entryPoints: [join(root, file)],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
      plugins: [wgslPlugin()],
      define: { __VERSION__: '"0"' },
      logLevel: 'warning',
    });
    return await import(pathToFileURL(outfile).href);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
