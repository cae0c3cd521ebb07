/** What reading a file costs a process of its own: its error, processor time and memory. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Cost {
  /** The error's code; 'none' when it was read, 'foreign' for an error that is not ours. */
  readonly code: string;
  readonly message: string;
  /** Processor time of the reading, and the most memory that the process ever had. */
  readonly seconds: number;
  readonly megabytes: number;
}

/** Runs an expression over `api` (the built package) and `file` in Node, with a heap of 400 MB. */
export function costOf(expression: string, file: string): Promise<Cost> {
  const script = `
    import { readFileSync } from 'node:fs';
    import * as api from ${JSON.stringify(pathToFileURL(resolve('dist/node.js')).href)};
    const file = ${JSON.stringify(file)};
    const before = process.cpuUsage();
    let told = { code: 'none', message: '' };
    try { await (${expression}); }
    catch (error) {
      const own = error instanceof api.SgpSamError;
      told = { code: own ? error.code : 'foreign', message: own ? error.message : String(error.stack) };
    }
    const { user, system } = process.cpuUsage(before);
    const megabytes = process.resourceUsage().maxRSS / 1024;
    console.log(JSON.stringify({ ...told, seconds: (user + system) / 1e6, megabytes }));
    process.exit();`;
  return new Promise((done, fail) => {
    const args = ['--max-old-space-size=400', '--input-type=module', '--eval', script];
    execFile(process.execPath, args, { timeout: 60_000, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error) fail(new Error(`the process ended: ${stderr.slice(-2000)}`, { cause: error }));
      else done(JSON.parse(stdout) as Cost);
    });
  });
}
