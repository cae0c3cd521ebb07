/** A profile as a trace that Perfetto and Chrome (chrome://tracing) open: Google's Trace Event Format, JSON. */
import { need } from '../../base/arguments.js';
import { adapterLine } from '../gpu/device.js';
import { kernelOf, needProfile, type Profile, roofOf, stageOf } from './profile.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'C' | 'M';
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

const [STAGES, KERNELS] = [1, 2];

/**
 * One process, a track of stages above a track of dispatches, and the memory alive as a counter. Dispatches follow one
 * another at their medians: gaps that come from timing each in a pass of its own are left out.
 */
export function traceOf(profile: Profile): string {
  needProfile(profile);
  const events: TraceEvent[] = [
    {
      name: 'process_name',
      ph: 'M',
      pid: 1,
      tid: 0,
      args: { name: `sgp-sam ${profile.what}, ${profile.model}, ${adapterLine(profile.adapter)}` },
    },
    { name: 'thread_name', ph: 'M', pid: 1, tid: STAGES, args: { name: 'stages' } },
    { name: 'thread_name', ph: 'M', pid: 1, tid: KERNELS, args: { name: 'kernels' } },
  ];
  let now = 0;
  let stage: { name: string; since: number } | undefined;
  const close = () => {
    if (stage) {
      const { name, since } = stage;
      events.push({ name, cat: 'stage', ph: 'X', pid: 1, tid: STAGES, ts: since, dur: now - since });
    }
  };
  for (const row of profile.dispatches) {
    const name = stageOf(row);
    if (stage?.name !== name) {
      close();
      stage = { name, since: now };
    }
    const roof = roofOf(row, profile.ceilings);
    const dur = 1000 * row.ms;
    events.push({
      name: kernelOf(row),
      cat: 'kernel',
      ph: 'X',
      pid: 1,
      tid: KERNELS,
      ts: now,
      dur,
      args: {
        stage: row.stage,
        workgroups: row.workgroups.join(' × '),
        gflops: Number(roof.gflops.toFixed(2)),
        gbs: Number(roof.gbs.toFixed(2)),
        percentOfFma: Number((100 * roof.ofFma).toFixed(1)),
        percentOfCopy: Number((100 * roof.ofCopy).toFixed(1)),
        executionsPerTimedPass: row.inRow,
        resolved: row.resolved,
      },
    });
    events.push({
      name: 'MiB alive',
      ph: 'C',
      pid: 1,
      tid: 0,
      ts: now,
      args: { MiB: row.liveBytes / 2 ** 20 },
    });
    now += dur;
  }
  close();
  return `${JSON.stringify({ displayTimeUnit: 'ms', traceEvents: events })}\n`;
}

/**
 * Puts the kernels on a track of their own in the DevTools performance panel (Chrome's extensibility API: user timings
 * with `detail.devtools`); elsewhere they are ordinary measures. They stand at `endTime` minus what they took, since the
 * device's clock is not the page's.
 * @param endTime when the run ended, as `performance.now()` gave it
 */
export function markDevTools(profile: Profile, endTime: number = performance.now()): void {
  needProfile(profile);
  need('markDevTools: endTime', endTime, 'a finite number');
  const total = profile.dispatches.reduce((sum, { ms }) => sum + ms, 0);
  let start = Math.max(0, endTime - total);
  for (const row of profile.dispatches) {
    const roof = roofOf(row, profile.ceilings);
    const end = start + row.ms;
    performance.measure(kernelOf(row), {
      start,
      end,
      detail: {
        devtools: {
          dataType: 'track-entry',
          track: `sgp-sam ${profile.what}`,
          trackGroup: 'sgp-sam',
          color: row.kernel.startsWith('attention') ? 'secondary' : 'primary',
          tooltipText: `${row.stage}: ${roof.gflops.toFixed(1)} GFLOP/s, ${(100 * roof.ofRoof).toFixed(0)} % of the roof (${roof.bound})`,
          properties: [
            ['stage', row.stage],
            ['workgroups', row.workgroups.join(' × ')],
          ],
        },
      },
    });
    start = end;
  }
}
