/** A profile as text for a terminal. */
import { adapterLine } from '../gpu/device.js';
import {
  type DispatchRow,
  FIGURES,
  figuresOf,
  type GroupRow,
  groupBy,
  kernelOf,
  needProfile,
  type Profile,
  stageOf,
} from './profile.js';

const MiB = 2 ** 20;
const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Columns padded to their widest cell: the first to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((row) => row[c]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, c) => (c === 0 ? cell.padEnd(widths[c] ?? 0) : cell.padStart(widths[c] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const cells = (group: GroupRow, total: number, { ceilings }: Profile): string[] =>
  figuresOf(group, total, ceilings, percent);

function groupTable(title: string, groups: readonly GroupRow[], profile: Profile, total: number): string {
  return columns([
    [title, ...FIGURES],
    ...groups.map((group) => [group.name, ...cells(group, total, profile)]),
  ]);
}

/** What stands beside a time that is not simply a median of runs. */
const remark = ({ inRow, resolved }: DispatchRow): string =>
  resolved ? (inRow > 1 ? `×${inRow}` : '') : 'below the clock';

/**
 * Header, kernels, stages, the costliest dispatches and memory.
 * @param top how many dispatches are listed
 */
export function profileText(profile: Profile, top = 15): string {
  needProfile(profile);
  const { dispatches, ceilings, memory } = profile;
  const total = dispatches.reduce((sum, { ms }) => sum + ms, 0);
  const flops = dispatches.reduce((sum, row) => sum + row.flops, 0);
  const half = ceilings.halfFmaGflops === null ? '' : ` (f16 ${ceilings.halfFmaGflops.toFixed(0)})`;
  const costliest = [...dispatches].sort((a, b) => b.ms - a.ms).slice(0, top);
  const unresolved = dispatches.filter(({ resolved }) => !resolved).length;
  const peak = dispatches.reduce((most, row) => (row.liveBytes > most.liveBytes ? row : most));
  const lines = [
    `${profile.what} of ${profile.model} on ${adapterLine(profile.adapter)}, ${profile.date.slice(0, 10)}`,
    `ceilings measured: ${ceilings.fmaGflops.toFixed(0)} GFLOP/s of FMA${half}, ${ceilings.copyGBs.toFixed(1)} GB/s of copying`,
    `one run: ${profile.wallMs.toFixed(2)} ms from call to result, ${(flops / 1e9).toFixed(2)} GFLOP, ${(flops / 1e6 / profile.wallMs).toFixed(1)} GFLOP/s (median of ${profile.runs})`,
    `${dispatches.length} dispatches, each timed alone: ${total.toFixed(2)} ms together; the host encodes one in ${profile.encodeUsPerDispatch.toFixed(1)} µs`,
    profile.clock === 'gpu'
      ? `clock: the device's timestamps, steps of ${Number((profile.clockStepMs * 1000).toPrecision(3))} µs`
      : 'clock: the host waits for every dispatch, which counts in; the device has no timestamps, or they do not advance',
    '',
    groupTable('kernel', groupBy(dispatches, kernelOf), profile, total),
    '',
    groupTable('stage', groupBy(dispatches, stageOf), profile, total),
    '',
    columns([
      [`costliest ${costliest.length}`, 'kernel', ...FIGURES.slice(1), ''],
      ...costliest.map((row) => [
        row.stage || '(no module)',
        kernelOf(row),
        ...cells(
          { name: '', calls: 1, ms: row.ms, flops: row.flops, bytes: row.bytes },
          total,
          profile,
        ).slice(1),
        remark(row),
      ]),
    ]),
    '',
    `memory: ${(memory.programBytes / MiB).toFixed(1)} MiB of the program, at most ${(peak.liveBytes / MiB).toFixed(1)} MiB alive (in ${peak.stage || 'no module'}); ${(memory.deviceBytes / MiB).toFixed(1)} MiB on the device with weights, peak ${(memory.peakBytes / MiB).toFixed(1)} MiB`,
    ...(unresolved > 0 ? [`${unresolved} dispatches are too short for the clock even repeated`] : []),
  ];
  return `${lines.join('\n')}\n`;
}
