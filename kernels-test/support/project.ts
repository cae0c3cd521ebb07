/** The package as a host's project has it: packed, installed, built with the bundlers of the repository. */
import { execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** `npm pack` of the repository as it is built, into a folder: the tarball's path. */
export async function packInto(folder: string): Promise<string> {
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: resolve('.') });
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz'))!);
}

/** The code blocks of a section of docs/hosts.md, as they stand. */
export function examples(section: string, language = 'js'): string[] {
  const text = readFileSync('docs/hosts.md', 'utf8').split(`\n## ${section}\n`)[1]?.split('\n## ')[0];
  if (text === undefined) throw new Error(`docs/hosts.md has no section "${section}"`);
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, of]) => of === language)
    .map(([, , code]) => code);
}

/** A project below out/, so that it finds the bundlers and libraries of the repository, and the packed package as its own. */
export class Project {
  readonly folder: string;

  constructor(files: Record<string, string | Uint8Array>) {
    mkdirSync('out', { recursive: true });
    this.folder = mkdtempSync(resolve('out', 'host-'));
    this.put('package.json', '{ "name": "host", "private": true, "type": "module" }');
    for (const [name, text] of Object.entries(files)) this.put(name, text);
  }

  put(name: string, text: string | Uint8Array): void {
    const at = join(this.folder, name);
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, text);
  }

  copy(from: string, name: string): void {
    this.put(name, new Uint8Array());
    copyFileSync(from, join(this.folder, name));
  }

  /** The package's files where `npm install` puts them. */
  async install(): Promise<void> {
    const at = join(this.folder, 'node_modules', 'sgp-sam');
    mkdirSync(at, { recursive: true });
    const tarball = await packInto(this.folder);
    await run('tar', ['xzf', tarball, '-C', at, '--strip-components=1']);
  }

  private get vite() {
    // Vitest's own setting would make a development build.
    const { NODE_ENV: _, ...env } = process.env;
    return {
      options: { cwd: this.folder, env: { ...env, NO_COLOR: '1' } },
      bin: resolve('node_modules/vite/bin/vite.js'),
    };
  }

  /** `vite build`: what it prints. */
  async build(): Promise<string> {
    const { bin, options } = this.vite;
    const { stdout, stderr } = await run(process.execPath, [bin, 'build'], options);
    return stdout + stderr;
  }

  /** `vite`, and where it serves. */
  async serve(): Promise<{ readonly url: string; stop(): void }> {
    const { bin, options } = this.vite;
    const child = spawn(process.execPath, [bin, '--port', '0'], {
      ...options,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    const url = await new Promise<string>((done, fail) => {
      const hear = (text: Buffer) => {
        printed += text;
        const found = /http:\/\/localhost:\d+\//.exec(printed);
        if (found) done(found[0]);
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.on('exit', (code) => fail(new Error(`vite ended with ${code}: ${printed}`)));
    });
    return { url, stop: () => child.kill() };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
