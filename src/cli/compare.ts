/** `sgp-sam compare`: evaluations of the same lesions. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readTextBytes } from '../base/json.node.js';
import {
  type Compared,
  compareResults,
  comparisonTable,
  letterOf,
  parseResults,
  sideBySide,
  units,
} from '../evaluation/compare.js';
import { zeroRules } from '../imaging/metrics/statistics.js';
import { oneOf, wholeOf } from './common.js';
import { checkOutputs, outputsOf, writeOutput } from './outputs.js';

interface CompareCommand {
  unit: string;
  zeros: string;
  seed: string;
  resamples: string;
  anyClicks: boolean;
  output?: string;
}

/** A results file, or that in a folder. */
const fileOf = (path: string): string =>
  existsSync(path) && statSync(path).isDirectory() ? join(path, 'results.json') : path;

async function read(path: string): Promise<Compared> {
  return parseResults(readTextBytes(fileOf(path), 'Give results that eval wrote.'), path);
}

async function compare(first: string, others: string[], options: CompareCommand): Promise<void> {
  const unit = oneOf('--unit', options.unit, units);
  const settings = {
    unit,
    zeros: oneOf('--zeros', options.zeros, zeroRules),
    seed: wholeOf('--seed', options.seed, 0),
    resamples: wholeOf('--resamples', options.resamples),
    anyClicks: options.anyClicks,
  };
  checkOutputs(outputsOf({ '--output': options.output }), [first, ...others].map(fileOf));
  const a = await read(first);
  const all = await Promise.all(others.map(read));
  const compared = all.map((b) => ({
    a: a.name,
    b: b.name,
    ...settings,
    rows: compareResults(a, b, settings),
  }));
  for (const [n, { b, rows }] of compared.entries())
    process.stdout.write(`${comparisonTable(rows, a.name, b, unit, letterOf(n + 1))}\n`);
  process.stdout.write(sideBySide([a, ...all]));
  if (options.output === undefined) return;
  // One comparison as it is, several as a list.
  const text = `${JSON.stringify(compared.length === 1 ? compared[0] : compared, null, 1)}\n`;
  await writeOutput(options.output, text);
  process.stdout.write(`wrote ${options.output}\n`);
}

export function addCompare(program: Command): void {
  program
    .command('compare')
    .description(
      'compare evaluations of the same lesions: mean differences with bootstrap intervals, Wilcoxon’s signed-rank test, and groups of lesions side by side',
    )
    .argument('<a>', 'results.json of eval, or its folder')
    .argument('<others...>', 'and those to set against it')
    .option('--unit <what>', 'pairs are cases (means over their lesions), or lesions', 'case')
    .option(
      '--zeros <rule>',
      'pairs without a difference: wilcox leaves them out, pratt ranks them',
      'wilcox',
    )
    .option('--seed <n>', 'of the bootstrap, which draws cases', '1')
    .option('--resamples <n>', 'how often it draws', '10000')
    .option('--any-clicks', 'also where clicks were placed otherwise (--first-click, --correction)', false)
    .option('-o, --output <r.json>', 'also write the table as JSON')
    .action(compare);
}
