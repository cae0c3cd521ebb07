/** A profile as one HTML document: the roofline, where the time goes, memory over the run. */
import { tableOf } from '../base/table.js';
import { adapterLine } from '../engine/gpu/device.js';
import {
  figuresOf,
  type GroupRow,
  groupBy,
  kernelOf,
  needProfile,
  type Profile,
  stageOf,
} from '../engine/profiler/profile.js';
import { type Chart, chartHtml, escapeHtml, factList, numeral, section, tableHtml } from './chart.js';
import { htmlDocument } from './document.js';

const MiB = 2 ** 20;
const percent = (share: number): string => `${numeral(Math.round(1000 * share) / 10)} %`;

function groups(title: string, rows: readonly GroupRow[], total: number, { ceilings }: Profile): string {
  return tableHtml(tableOf(rows, (row) => [[title, row.name], ...figuresOf(row, total, ceilings, percent)]));
}

/** Kernels under the device's two ceilings; both axes logarithmic, the horizontal one in powers of two. */
function roofline(profile: Profile): string {
  const { ceilings } = profile;
  const kernels = groupBy(profile.dispatches, ({ kernel }) => kernel).filter(
    (group) => group.flops > 0 && group.bytes > 0 && group.ms > 0,
  );
  const at = (group: GroupRow) => Math.log2(group.flops / group.bytes);
  const [low, high] = [0, Math.max(8, ...kernels.map(at))];
  const ridge = Math.log2(ceilings.fmaGflops / ceilings.copyGBs);
  const roof = [low, Math.min(Math.max(ridge, low), high), high].map(
    (x) => [x, Math.min(ceilings.fmaGflops, 2 ** x * ceilings.copyGBs)] as const,
  );
  const chart: Chart = {
    title: 'Roofline',
    x: 'log₂ of FLOP per byte',
    y: 'GFLOP/s',
    scale: 'log',
    series: [{ name: 'what this device can do, measured', points: roof, colour: 0, style: 'line' }],
    marks: kernels
      .filter((group) => at(group) >= low)
      .map((group, i) => ({
        at: [at(group), group.flops / 1e6 / group.ms] as const,
        text: group.name,
        colour: 1 + (i % 5),
      })),
    note: 'Bytes are compulsory traffic, each operand once: caches can lift a kernel above the slope. Kernels below one FLOP per byte are left out.',
  };
  return chartHtml(chart);
}

function memoryChart({ dispatches }: Profile): string {
  let now = 0;
  const points = dispatches.map(({ ms, liveBytes }) => {
    const at = now + ms / 2;
    now += ms;
    return [at, liveBytes / MiB] as const;
  });
  return chartHtml({
    title: 'Memory alive',
    x: 'ms, dispatches one after the other',
    y: 'MiB of tensors',
    scale: 'linear',
    series: [{ name: 'alive while a dispatch runs', points, colour: 2, style: 'line' }],
  });
}

/** The whole report. */
export function profileHtml(profile: Profile): string {
  needProfile(profile);
  const { dispatches, ceilings, memory } = profile;
  const total = dispatches.reduce((sum, { ms }) => sum + ms, 0);
  const title = `${profile.what} of ${profile.model}`;
  const costliest = [...dispatches].sort((a, b) => b.ms - a.ms).slice(0, 40);
  return htmlDocument(title, [
    `<h1>${escapeHtml(title)}</h1>`,
    factList([
      ['Adapter', adapterLine(profile.adapter)],
      ['Date, engine', `${profile.date.slice(0, 19).replace('T', ' ')}, sgp-sam ${profile.engineVersion}`],
      ['One run, from call to result', `${profile.wallMs.toFixed(2)} ms (median of ${profile.runs})`],
      ['Dispatches, each timed alone', `${dispatches.length}, ${total.toFixed(2)} ms together`],
      ['Host, per dispatch', `${profile.encodeUsPerDispatch.toFixed(1)} µs`],
      ['Ceiling of arithmetic', `${numeral(ceilings.fmaGflops)} GFLOP/s (${ceilings.fmaKernel})`],
      ['Ceiling of copying', `${numeral(ceilings.copyGBs)} GB/s`],
      [
        'Clock',
        profile.clock === 'gpu'
          ? `the device’s timestamps, steps of ${numeral(1000 * profile.clockStepMs)} µs`
          : 'the host’s, since the device has no timestamps or they do not advance; waiting for each dispatch counts in',
      ],
      ['Memory of the program', `${(memory.programBytes / MiB).toFixed(1)} MiB`],
      ['Memory on the device, peak', `${(memory.peakBytes / MiB).toFixed(1)} MiB`],
    ]),
    section('Where it stands', `<div class="charts">\n${roofline(profile)}\n${memoryChart(profile)}\n</div>`),
    section('Kernels', groups('kernel (variant)', groupBy(dispatches, kernelOf), total, profile)),
    section('Stages', groups('stage', groupBy(dispatches, stageOf), total, profile)),
    section(
      'Costliest dispatches',
      tableHtml(
        tableOf(costliest, (row) => [
          ['stage', row.stage || '(no module)'],
          ['kernel (variant)', kernelOf(row)],
          ...figuresOf({ name: '', calls: 1, ...row }, total, ceilings, percent).slice(1),
          ['executions per timed pass', row.resolved ? row.inRow : `${row.inRow}, below the clock`],
        ]),
      ),
    ),
  ]);
}
