/**
 * What Mesa's compiler makes of this project's kernels for AMD GPUs, without one (docs/hardware.md). Wants gcc, libvulkan-dev and
 * mesa-vulkan-drivers (tools/ci-setup.sh).
 *
 *     node tools/null-gpu/table.mjs [--families navi31,gfx1200]   registers, spills, memory, waves, code, loads and multiply-adds
 *         --forced          with every variant that no rule picks
 *         --markdown        as Markdown
 *         --json FILE       also as JSON
 *         --check           against tools/null-gpu/budgets.json: exit 1 if what a rule picks spills or takes more; no tables
 *         --write-budgets   what there is now becomes the budget
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { load } from '../load.mjs';

const BUDGETS = fileURLToPath(new URL('budgets.json', import.meta.url));
const { values } = parseArgs({
  options: {
    families: { type: 'string' },
    forced: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
    'write-budgets': { type: 'boolean', default: false },
    /** Of the processes below: one family, as JSON on stdout. A process has one device that is not there. */
    compile: { type: 'string' },
  },
});
const kernels = await load('tools/null-gpu/kernels.ts');

if (values.compile) {
  process.stdout.write(JSON.stringify(await kernels.compileFamily(values.compile, values.forced)));
} else {
  const families = values.families?.split(',') ?? kernels.FAMILIES;
  const waiting = [...families];
  const done = new Map();
  const worker = async () => {
    for (let family = waiting.shift(); family; family = waiting.shift()) {
      const args = [
        fileURLToPath(import.meta.url),
        '--compile',
        family,
        ...(values.forced ? ['--forced'] : []),
      ];
      const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 26 });
      done.set(family, JSON.parse(stdout));
    }
  };
  const began = performance.now();
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, worker));
  } catch (error) {
    console.error(error.stderr ?? error);
    process.exit(1);
  }
  const all = families.map((family) => done.get(family));
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  const texts = all.flatMap(({ rows }) => rows).reduce((sum, row) => sum + row.texts, 0);
  console.log(`${texts} kernels for ${families.join(', ')} compiled by ${all[0].driver} in ${seconds} s`);
  if (values.json) writeFileSync(values.json, `${JSON.stringify(all, null, 1)}\n`);
  if (values['write-budgets']) {
    writeFileSync(BUDGETS, kernels.budgetsText(kernels.budgetsOf(all)));
    console.log(`wrote ${BUDGETS}`);
  } else if (values.check) {
    const budgets = JSON.parse(readFileSync(BUDGETS, 'utf8'));
    if (kernels.release(all[0].driver) !== kernels.release(budgets.driver))
      console.log(`budgets are of ${budgets.driver}: only spills are looked for`);
    const faults = all.flatMap((one) => kernels.faultsOf(one, budgets));
    console.log(faults.length === 0 ? 'all within their budgets, nothing spills' : faults.join('\n'));
    process.exitCode = faults.length === 0 ? 0 : 1;
  } else {
    for (const one of all) {
      const table = kernels.compilationTable(one);
      console.log(`\n${one.family}\n\n${values.markdown ? kernels.markdown(table) : kernels.text(table)}`);
      if (one.refused.length > 0) console.log(`\nnot compiled:\n  ${one.refused.join('\n  ')}`);
    }
  }
}
