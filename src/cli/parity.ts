/** `sgp-sam parity`: compare this engine with the PyTorch original's numbers, stage by stage. */
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { left, tableOf, tableText } from '../base/table.js';
import { adapterLine } from '../engine/gpu/device.js';
import { readNiftiFile } from '../imaging/nifti.node.js';
import type { ParityReport } from '../parity/compare.js';
import { parity } from '../parity/parity.js';
import { openWeightFile } from '../weights/file.node.js';
import { deviceTable, SUBMIT_BUDGET_MS, storageTable, timed, variantsOf, withEngine } from './common.js';
import { declare, flag, type Values, valuesOf } from './options.js';
import { ProgressBars } from './progress.js';

function table(report: ParityReport): string {
  const exponential = (name: string, digits: number) => ({
    name,
    show: (value: number) => value.toExponential(digits),
  });
  const rows = tableOf(report.rows, (row) => [
    ['stage', row.stage],
    [exponential('relative L2', 2), row.relativeL2],
    [exponential('max abs', 2), row.maxAbs],
    [exponential('tolerance', 0), row.tolerance === 0 ? 'exact' : row.tolerance],
    [left(''), row.ok ? 'ok' : 'FAILED'],
  ]);
  const notes = report.notes.map((note) => `note: ${note}\n`);
  const failed = report.rows.filter((row) => !row.ok).length;
  const verdict =
    report.rows.length === 0
      ? 'nothing was compared'
      : failed === 0
        ? `passed: ${report.rows.length} stages within tolerance`
        : `FAILED: ${failed} of ${report.rows.length} stages out of tolerance`;
  return `${tableText(rows)}\n${notes.join('')}${verdict}\n`;
}

const parityTable = { json: flag('print JSON'), ...storageTable, ...deviceTable };

async function compare(file: string, options: Values<typeof parityTable>): Promise<void> {
  const { weightStorage } = options;
  const fixture = await openWeightFile(file);
  const bars = new ProgressBars(options.quiet);
  try {
    const ok = await withEngine(options, async (engine) => {
      const { result: report, ms } = await timed(() =>
        parity(engine, fixture, {
          regionMode: options.gateMode,
          variants: variantsOf(options),
          weightStorage,
          budgetMs: SUBMIT_BUDGET_MS,
          progress: bars.report,
          // The volumes lie beside the fixtures' folder, in `data` (SPEC D).
          readVolume: (name, channel) =>
            readNiftiFile(resolve(dirname(file), '..', 'data', name), { channel }),
        }),
      );
      bars.finish();
      if (options.json) {
        const { adapter } = engine.gpu;
        process.stdout.write(
          `${JSON.stringify({ ...report, adapter, ms, peakBytes: engine.memory.peakBytes }, null, 2)}\n`,
        );
      } else {
        process.stdout.write(
          `${file} (${report.kind}) on ${adapterLine(engine.gpu.adapter)}\n${table(report)}`,
        );
      }
      return report.ok;
    });
    if (!ok) process.exitCode = 1;
  } finally {
    bars.finish();
    await fixture.close();
  }
}

export function addParity(program: Command): void {
  const command = program
    .command('parity')
    .description(
      'compare with a fixture of the PyTorch original (SPEC D); exit code 1 if any stage is out of tolerance',
    )
    .argument('<fixture>', 'a .safetensors fixture: sam_med3d, sgp_sam, preprocess or zoom_loss');
  declare(command, parityTable).action((file, parsed) => compare(file, valuesOf(parityTable, parsed)));
}
