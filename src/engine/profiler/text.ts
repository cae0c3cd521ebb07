/** A profile as text for a terminal. */
import { type Row, tableOf, tableText } from '../../base/table.js';
import { adapterLine } from '../gpu/device.js';
import {
  type DispatchRow,
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

function groupTable(title: string, groups: readonly GroupRow[], profile: Profile, total: number): string {
  const row = (group: GroupRow): Row => [
    [title, group.name],
    ...figuresOf(group, total, profile.ceilings, percent),
  ];
  return tableText(tableOf(groups, row));
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
    tableText(
      tableOf(costliest, (row) => [
        [`costliest ${costliest.length}`, row.stage || '(no module)'],
        ['kernel', kernelOf(row)],
        ...figuresOf({ name: '', calls: 1, ...row }, total, ceilings, percent).slice(1),
        ['', remark(row)],
      ]),
    ),
    '',
    `memory: ${(memory.programBytes / MiB).toFixed(1)} MiB of the program, at most ${(peak.liveBytes / MiB).toFixed(1)} MiB alive (in ${peak.stage || 'no module'}); ${(memory.deviceBytes / MiB).toFixed(1)} MiB on the device with weights, peak ${(memory.peakBytes / MiB).toFixed(1)} MiB`,
    ...(unresolved > 0 ? [`${unresolved} dispatches are too short for the clock even repeated`] : []),
  ];
  return `${lines.join('\n')}\n`;
}
