/** A profile: every dispatch of a program with what it took, against what the device can do at most. */

import { need, needFields, needList, needOptions } from '../../base/arguments.js';
import { fixed, type Row } from '../../base/table.js';
import type { AdapterReport } from '../gpu/device.js';
import type { Engine } from '../gpu/engine.js';
import { median } from '../gpu/pass-timer.js';
import type { Program } from '../graph/program.js';
import type { RegionMode } from '../graph/regions.js';
import { type Ceilings, measureCeilings } from './ceilings.js';

/** One dispatch. Times are medians over the runs, in ms. */
export interface DispatchRow {
  readonly index: number;
  /** The part of the model it belongs to, by the checkpoint's module names; empty for what belongs to none, such as an optimiser's. */
  readonly stage: string;
  readonly kernel: string;
  readonly variant: string;
  /** Number of its WGSL among the profile's `shaders`. */
  readonly shader: number;
  readonly workgroups: readonly [number, number, number];
  /** Multiply-adds counted as two; of a conditional region, what its open part did. */
  readonly flops: number;
  /** Compulsory traffic, every operand once. */
  readonly bytes: number;
  readonly ms: number;
  readonly fastestMs: number;
  readonly slowestMs: number;
  /** When it began in the last run, for a timeline. */
  readonly beginMs: number;
  /** More than one: so many executions shared a timed pass, since one is too short for the clock. */
  readonly inRow: number;
  /** False: too short for the clock all the same. */
  readonly resolved: boolean;
  /** Bytes of tensors alive while it runs. */
  readonly liveBytes: number;
}

/** What several dispatches have in common, added up. */
export interface GroupRow {
  readonly name: string;
  readonly calls: number;
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
}

/** One measured program: what `profile --json` writes. Times in ms, sizes in bytes unless the field says otherwise. */
export interface Profile {
  readonly format: 'sgp-sam profile 1';
  /** `encode`, `decode`, `train`. */
  readonly what: string;
  /** The configuration or file profiled. */
  readonly model: string;
  readonly engineVersion: string;
  /** ISO 8601. */
  readonly date: string;
  readonly adapter: AdapterReport;
  readonly mode: RegionMode;
  readonly runs: number;
  readonly clock: 'gpu' | 'host';
  readonly clockStepMs: number;
  readonly ceilings: Ceilings;
  /** The whole program as users run it, one submit: from the call to the end of the work, median, ms. */
  readonly wallMs: number;
  /** What the host spent on encoding and submitting it, µs per dispatch, median. */
  readonly encodeUsPerDispatch: number;
  readonly dispatches: readonly DispatchRow[];
  readonly memory: {
    /** Of the program: activations, inputs, uniforms. */
    readonly programBytes: number;
    /** Of everything on the device now, weights included, and at most so far. */
    readonly deviceBytes: number;
    readonly peakBytes: number;
  };
}

/** A program's WGSL as it ran, each text once. */
export interface ShaderText {
  readonly name: string;
  readonly variants: readonly string[];
  readonly code: string;
}

/** Every shader of a program in the order of first use; `DispatchRow.shader` counts from 0 in it. */
export function shadersOf(program: Program): ShaderText[] {
  needFields('program', program, 'dispatches');
  needList('program.dispatches', program.dispatches, 'shader');
  const found = new Map<string, { name: string; variants: Set<string>; code: string }>();
  for (const { shader, kernel, variant } of program.dispatches) {
    const one = found.get(shader.code) ?? { name: shader.name, variants: new Set(), code: shader.code };
    one.variants.add(`${kernel}: ${variant}`);
    found.set(shader.code, one);
  }
  return [...found.values()].map(({ name, variants, code }) => ({ name, variants: [...variants], code }));
}

/** What is profiled, for the record, and how: `runs` repetitions, of which medians are taken. */
export interface ProfileSettings {
  readonly what: string;
  readonly model: string;
  readonly runs?: number;
  readonly mode?: RegionMode;
  /** Measured after the program if not given. */
  readonly ceilings?: Ceilings;
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** How much of each dispatch's planned work the gates let happen: 1 outside regions. */
async function executedShares(program: Program): Promise<number[]> {
  const share = program.dispatches.map(() => 1);
  const reports = await program.regionReports();
  for (const report of reports) {
    let at = 0;
    program.dispatches.forEach(({ region }, i) => {
      if (region?.name !== report.name) return;
      const one = report.dispatches[at++];
      if (one && one.planned > 0) share[i] = one.executed / one.planned;
    });
  }
  return share;
}

/**
 * Profiles a program whose inputs are written. Its outputs are worthless afterwards (kernels too short for the clock run
 * several times over), and a training step's parameters too.
 */
export async function profileProgram(
  engine: Engine,
  program: Program,
  settings: ProfileSettings,
): Promise<Profile> {
  needFields('engine', engine, 'gpu', 'device');
  needFields('program', program, 'dispatches');
  needFields('profileProgram: settings', settings, 'what', 'model');
  needOptions('profileProgram', settings);
  const { what, model, runs = 5, mode = 'predicated', ceilings, progress, signal } = settings;
  const walls: number[] = [];
  const hosts: number[] = [];
  // One more than asked for: the first one compiles what drivers compile late.
  for (let n = 0; n <= runs; n++) {
    const begin = performance.now();
    const { hostMs } = await program.run({ mode, signal });
    await engine.idle();
    if (n === 0) continue;
    walls.push(performance.now() - begin);
    hosts.push(hostMs);
  }
  const share = await executedShares(program);
  const times = await program.profile({ runs, mode, signal, ...(progress ? { progress } : {}) });
  const codes = shadersOf(program).map(({ code }) => code);
  const dispatches = program.dispatches.map((call, index): DispatchRow => {
    const time = times.passes[index];
    const samples = time?.samples ?? [];
    return {
      index,
      stage: call.stage ?? '',
      kernel: call.kernel,
      variant: call.variant,
      shader: codes.indexOf(call.shader.code),
      workgroups: call.workgroups,
      flops: call.cost.flops * (share[index] ?? 1),
      bytes: call.cost.bytes * (share[index] ?? 1),
      ms: median(samples),
      fastestMs: Math.min(...samples),
      slowestMs: Math.max(...samples),
      beginMs: time?.beginMs ?? 0,
      inRow: time?.inRow ?? 1,
      resolved: time?.resolved ?? false,
      liveBytes: program.plan.liveBytes[index] ?? 0,
    };
  });
  // Before the ceilings are measured: their buffers are not the program's.
  const memory = {
    programBytes: program.bytes,
    deviceBytes: engine.memory.bytes,
    peakBytes: engine.memory.peakBytes,
  };
  return {
    format: 'sgp-sam profile 1',
    what,
    model,
    engineVersion: __VERSION__,
    date: new Date().toISOString(),
    adapter: engine.gpu.adapter,
    mode,
    runs,
    clock: times.clock,
    clockStepMs: times.stepMs,
    ceilings: ceilings ?? (await measureCeilings(engine)),
    wallMs: median(walls),
    encodeUsPerDispatch: (1000 * median(hosts)) / Math.max(1, dispatches.length),
    dispatches,
    memory,
  };
}

/** Adds dispatches up by `name`, the costliest group first. */
export function groupBy(rows: readonly DispatchRow[], name: (row: DispatchRow) => string): GroupRow[] {
  needList('groupBy: rows', rows, 'ms');
  need('groupBy: name', name, 'a function');
  const groups = new Map<string, { calls: number; ms: number; flops: number; bytes: number }>();
  for (const row of rows) {
    const key = name(row);
    const group = groups.get(key) ?? { calls: 0, ms: 0, flops: 0, bytes: 0 };
    group.calls++;
    group.ms += row.ms;
    group.flops += row.flops;
    group.bytes += row.bytes;
    groups.set(key, group);
  }
  return [...groups].map(([key, group]) => ({ name: key, ...group })).sort((a, b) => b.ms - a.ms);
}

export const kernelOf = (row: DispatchRow): string => `${row.kernel} (${row.variant})`;

/** @throws SgpSamError `bad-argument` for what is no profile */
export function needProfile(profile: unknown): void {
  needFields('profile', profile, 'dispatches', 'ceilings', 'memory', 'adapter');
  needList('profile.dispatches', (profile as Profile).dispatches, 'stage', 'kernel', 'ms');
}

/** A stage without its leaves: image_encoder.blocks.3, sgpm.0, mask_decoder.transformer. */
export const stageOf = ({ stage }: DispatchRow): string => {
  const parts = stage.split('.');
  const depth = parts[1] === 'blocks' ? 3 : 2;
  return parts.slice(0, depth).join('.') || '(no module)';
};

/** Where a row stands under the roofline. */
export interface Roof {
  readonly gflops: number;
  readonly gbs: number;
  /** Shares of the two ceilings, 0 to 1. */
  readonly ofFma: number;
  readonly ofCopy: number;
  /** The ceiling that is nearer at this arithmetic intensity, and the share of it. */
  readonly bound: 'compute' | 'memory';
  readonly ofRoof: number;
}

export function roofOf(row: Pick<GroupRow, 'ms' | 'flops' | 'bytes'>, ceilings: Ceilings): Roof {
  const gflops = row.ms > 0 ? row.flops / 1e6 / row.ms : 0;
  const gbs = row.ms > 0 ? row.bytes / 1e6 / row.ms : 0;
  const ofFma = gflops / ceilings.fmaGflops;
  const ofCopy = gbs / ceilings.copyGBs;
  const bound = ofFma >= ofCopy ? 'compute' : 'memory';
  return { gflops, gbs, ofFma, ofCopy, bound, ofRoof: Math.max(ofFma, ofCopy) };
}

/**
 * What tables say of a group beside its name: the share of the time and how near it comes to the ceilings.
 * @param totalMs what shares are of
 * @param percent how a share is written
 */
export function figuresOf(
  group: GroupRow,
  totalMs: number,
  ceilings: Ceilings,
  percent: (share: number) => string,
): Row {
  const { gflops, gbs, ofFma, ofCopy, bound } = roofOf(group, ceilings);
  const share = (name: string) => ({ name, show: percent });
  return [
    ['calls', group.calls],
    [fixed('ms', 2), group.ms],
    [share('share'), group.ms / totalMs],
    [fixed('GFLOP/s', 1), gflops],
    [fixed('GB/s', 1), gbs],
    [share('of FMA'), ofFma],
    [share('of copy'), ofCopy],
    ['nearer ceiling', bound],
  ];
}
