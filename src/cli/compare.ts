/** `sgp-sam compare`: evaluations of the same lesions. */
import type { Command } from 'commander';
import { compareResults, comparisonTable, letterOf, sideBySide, units } from '../evaluation/compare.js';
import { zeroRules } from '../imaging/metrics/statistics.js';
import { readResults, resultsFile } from './common.js';
import { asIs, declare, flag, oneOf, option, type Values, valuesOf, whole, wholeFrom } from './options.js';
import { checkOutputs, outputsOf, writeOutput } from './outputs.js';

const compareTable = {
  unit: option('<what>', 'pairs are cases (means over their lesions), or lesions', oneOf(units), 'case'),
  zeros: option(
    '<rule>',
    'pairs without a difference: wilcox leaves them out, pratt ranks them',
    oneOf(zeroRules),
    'wilcox',
  ),
  seed: option('<n>', 'of the bootstrap, which draws cases', wholeFrom(0), '1'),
  resamples: option('<n>', 'how often it draws', whole, '10000'),
  anyClicks: flag('also where clicks were placed otherwise (--first-click, --correction)'),
  output: option('-o, <r.json>', 'also write the table as JSON', asIs),
};

async function compare(
  first: string,
  others: string[],
  { output, ...settings }: Values<typeof compareTable>,
): Promise<void> {
  checkOutputs(outputsOf({ '--output': output }), [first, ...others].map(resultsFile));
  const a = readResults(first);
  const all = others.map(readResults);
  const compared = all.map((b) => ({
    a: a.name,
    b: b.name,
    ...settings,
    rows: compareResults(a, b, settings),
  }));
  for (const [n, { b, rows }] of compared.entries())
    process.stdout.write(`${comparisonTable(rows, a.name, b, settings.unit, letterOf(n + 1))}\n`);
  process.stdout.write(sideBySide([a, ...all]));
  if (output === undefined) return;
  // One comparison as it is, several as a list.
  const text = `${JSON.stringify(compared.length === 1 ? compared[0] : compared, null, 1)}\n`;
  await writeOutput(output, text);
  process.stdout.write(`wrote ${output}\n`);
}

export function addCompare(program: Command): void {
  const command = program
    .command('compare')
    .description(
      'compare evaluations of the same lesions: mean differences with bootstrap intervals, Wilcoxon’s signed-rank test, and groups of lesions side by side',
    )
    .argument('<a>', 'results.json of eval, or its folder')
    .argument('<others...>', 'and those to set against it');
  declare(command, compareTable).action((first, others, parsed) =>
    compare(first, others, valuesOf(compareTable, parsed)),
  );
}
