import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { wgslPlugin } from '../../tools/wgsl.mjs';

export interface ChildResult {
  /** null when it was still running after `timeoutMs`. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs TypeScript in a Node process of its own: for what must be seen from outside (exiting, the environment, a
 * first start). Imports in `source` are relative to the repository root; `wrap` is a command to run Node under.
 */
export async function runChild(
  source: string,
  options: { env?: Record<string, string>; timeoutMs?: number; wrap?: readonly string[] } = {},
): Promise<ChildResult> {
  // Below node_modules, so that the packages left out of the bundle are found.
  const cache = resolve('node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'child-'));
  const outfile = join(folder, 'child.mjs');
  try {
    await build({
      stdin: { contents: source, resolveDir: process.cwd(), loader: 'ts' },
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      plugins: [wgslPlugin()],
      logLevel: 'silent',
    });
    const command = [...(options.wrap ?? []), process.execPath, outfile];
    return await new Promise<ChildResult>((done, fail) => {
      const child = spawn(command[0], command.slice(1), { env: { ...process.env, ...options.env } });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 30_000);
      child.on('error', fail);
      child.on('close', (code) => {
        clearTimeout(timer);
        done({ code, stdout, stderr });
      });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
