/**
 * `profile` and `tune` as processes: what they write, what they refuse, and that what was tuned is then used.
 *
 * @module-tag long
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'sgp-sam-profile-'));
const at = (name: string) => join(folder, name);
/** No table of this machine's user is read or written. */
const env = { SGP_SAM_TUNED: at('tuned') };
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('sgp-sam profile', () => {
  it('writes what it is asked for, and compares two of its files', async () => {
    const outputs = ['--json', at('a.json'), '--trace', at('t.json'), '--html', at('p.html')];
    const args = ['profile', 'encode', '--config', 'sgp-tiny', '--runs', '1', '--top', '3', '-q'];
    const ran = await runCli([...args, ...outputs, '--dump-wgsl', at('wgsl')], { env });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stdout).toMatch(/^encode of sgp-tiny on /);
    expect(ran.stdout).toMatch(/ceilings measured: \d+ GFLOP\/s of FMA/);
    expect(ran.stdout).toMatch(/costliest 3 /);
    const profile = JSON.parse(readFileSync(at('a.json'), 'utf8'));
    expect(profile.dispatches.length).toBeGreaterThan(20);
    expect(JSON.parse(readFileSync(at('t.json'), 'utf8')).traceEvents.length).toBeGreaterThan(40);
    expect(readFileSync(at('p.html'), 'utf8')).toContain('Roofline');
    const shaders = readdirSync(at('wgsl'));
    const numbers = new Set(profile.dispatches.map(({ shader }: { shader: number }) => shader));
    expect(shaders.length).toBe(numbers.size);
    expect(readFileSync(join(at('wgsl'), shaders[0] as string), 'utf8')).toMatch(/@compute/);

    const forced = await runCli([...args, '--variant', 'matmul=register', '--json', at('b.json')], { env });
    expect(forced.code, forced.stderr).toBe(0);
    const compared = await runCli(['profile', '--compare', at('a.json'), at('b.json')], { env });
    expect(compared.code, compared.stderr).toBe(0);
    expect(compared.stdout).toMatch(/matmul \(register-\d\) +- /);
  });

  it('of a decode and of a training step', async () => {
    for (const [work, kernel, model] of [
      ['decode', 'mask_product', ['--config', 'sgp-tiny']],
      ['train', 'adamw', ['--config', 'sgp-tiny']],
      ['train', 'adamw', ['--weights', 'formula:tiny']],
    ] as const) {
      const ran = await runCli(['profile', work, ...model, '--runs', '1', '-q'], { env });
      expect(ran.code, ran.stderr).toBe(0);
      expect(ran.stdout).toContain(kernel);
      const called = model[0] === '--config' ? 'sgp-tiny' : 'formula:tiny (tiny)';
      expect(ran.stdout).toContain(`${work} of ${called} on `);
    }
  });

  it('for an AMD GPU that is not there, where the tools for it are; without them it says which', async () => {
    const args = ['profile', 'decode', '--config', 'tiny', '--isa', 'navi31', '-q'];
    const ran = await runCli([...args, '--dump-wgsl', at('isa'), '--json', at('isa.json')], { env });
    if (ran.code === 0) {
      expect(ran.stdout).toMatch(/^decode of tiny as compiled for navi31 by radv: Mesa /);
      const { kernels } = JSON.parse(readFileSync(at('isa.json'), 'utf8'));
      const files = readdirSync(at('isa')).sort();
      expect(files).toHaveLength(2 * kernels.length);
      expect(readFileSync(join(at('isa'), files[1] as string), 'utf8')).toMatch(/@compute/);
      expect(readFileSync(join(at('isa'), files[0] as string), 'utf8')).toMatch(/s_endpgm/);
    } else {
      console.log(`skipped in part: ${ran.stderr.trim()}`);
    }
    // No compiler on the path, and nothing that was built before.
    const empty = mkdtempSync(join(folder, 'empty-'));
    const bare = await runCli(args, { env: { ...env, PATH: empty, TMPDIR: empty, HOME: empty } });
    expect(bare.code).toBe(1);
    expect(bare.stderr).toMatch(/compiling for GPUs that are not there: /);
    expect(bare.stderr).toMatch(/apt-get install gcc libc6-dev libvulkan-dev/);
    if (ran.code === 0) expect(bare.stderr).toContain('there is no gcc');
  });

  it.each([
    ['other work', ['profile', 'dance'], /'dance' is none of encode, decode, train/],
    ['an unknown configuration', ['profile', '--config', 'huge'], /huge/],
    ['two models', ['profile', '--config', 'tiny', '--weights', 'x.pth'], /--config and --weights/],
    ['no runs', ['profile', '--runs', '0'], /--runs 0 is not a whole number/],
    ['a GPU that Mesa does not know', ['profile', '--isa', 'gfx9999'], /'gfx9999' is none of navi31/],
    ['a trace of nothing', ['profile', '--isa', 'navi31', '--trace', 't.json'], /--isa runs nothing/],
    ['one file to compare', ['profile', '--compare', 'a.json'], /--compare takes two files/],
    [
      'a file that is not there',
      ['profile', '--compare', 'no.json', 'no.json'],
      /cannot read no\.json: ENOENT/,
    ],
    ['an output in no folder', ['profile', '--json', '/no/such/p.json'], /--json .*no folder/],
    ['gates that are neither', ['profile', '--gates', 'ajar'], /--gates 'ajar' is none of/],
    [
      'the mode that needs the host',
      ['profile', '--config', 'sgp-tiny', '--gate-mode', 'readback'],
      /readback/,
    ],
    ['tune with a variant', ['tune', '--variant', 'matmul=tiled'], /--variant has no place/],
    ['tune of two models', ['tune', '--config', 'tiny', '--weights', 'x.pth'], /--config and --weights/],
    ['tune of an unknown configuration', ['tune', '--config', 'huge'], /huge/],
    ['tune of other work', ['tune', '--work', 'encode,dance'], /--work 'dance'/],
  ])('refuses %s', async (_, args, message) => {
    const ran = await runCli(args, { env });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(message);
    expect(ran.stderr).not.toContain('internal error');
  });

  it('a file of something else is an error that names it', async () => {
    writeFileSync(at('other.json'), '{"format":"something"}');
    const ran = await runCli(['profile', '--compare', at('other.json'), at('other.json')], { env });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('other.json: format is not a profile');
  });
});

describe('sgp-sam tune', () => {
  it('keeps a table that later commands use, unless told not to', async () => {
    const ran = await runCli(['tune', '--weights', 'formula:tiny', '--work', 'encode', '--runs', '1', '-q'], {
      env,
      timeoutMs: 240_000,
    });
    expect(ran.code, ran.stderr).toBe(0);
    const file = /wrote (.*\.json)/.exec(ran.stdout)?.[1] as string;
    expect(existsSync(file)).toBe(true);
    const table = JSON.parse(readFileSync(file, 'utf8'));
    const entries = Object.entries(table.entries) as [
      string,
      { variant: string; measured: Record<string, number> },
    ][];
    const variants = async (...more: string[]) => {
      const json = at('used.json');
      const args = ['profile', '--config', 'tiny', '--runs', '1', '-q', '--json', json, ...more];
      const profiled = await runCli(args, { env });
      expect(profiled.code, profiled.stderr).toBe(0);
      const { dispatches } = JSON.parse(readFileSync(json, 'utf8')) as {
        dispatches: { kernel: string; variant: string }[];
      };
      return dispatches.filter(({ kernel }) => kernel === 'matmul').map(({ variant }) => variant);
    };
    // Neither what was best nor what the rule gives anywhere: so that what is used can be told from both.
    const usual = await variants('--no-tuned');
    // Of a shape that was at its roof at once only one was measured.
    const [[key, other] = []] = entries
      .filter(([shape]) => shape.startsWith('matmul '))
      .flatMap(([shape, { variant, measured }]) =>
        Object.keys(measured)
          .filter((name) => name !== variant && !usual.includes(name))
          .map((name) => [shape, name] as const),
      );
    expect(key).toBeDefined();
    table.entries[key as string].variant = other;
    writeFileSync(file, JSON.stringify(table));
    expect(await variants()).toContain(other);
    expect(await variants('--no-tuned')).toEqual(usual);

    writeFileSync(file, '{broken');
    const broken = await runCli(['profile', '--config', 'tiny', '--runs', '1', '-q'], { env });
    expect(broken.code).toBe(0);
    expect(broken.stderr).toMatch(/not used: .* is not JSON/);
  }, 300_000);
});
