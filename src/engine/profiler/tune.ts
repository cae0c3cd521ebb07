/**
 * Tuning: which variant serves each shape best on this device, by measuring them in the programs that use them.
 *
 * In a sweep every shape that can choose takes its next candidate, all at once: the whole program is compiled and timed
 * dispatch by dispatch, so as many sweeps as the shape with most candidates has measure everything, with the caches and
 * neighbours that kernels have in real runs.
 */
import { need, needFields, needList, needOptions } from '../../base/arguments.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import { isJsonObject, type JsonObject, readJson } from '../../base/json.js';
import { fields, object, text as textShape } from '../../base/shape.js';
import type { AdapterReport } from '../gpu/device.js';
import type { Engine } from '../gpu/engine.js';
import type { Program } from '../graph/program.js';
import type { Ceilings } from './ceilings.js';

/** What was measured of one shape. */
export interface TunedEntry {
  /** The best. */
  readonly variant: string;
  readonly ms: number;
  /** What the planner would have taken, and its time. */
  readonly usual: string;
  readonly usualMs: number;
  /** Times of all that were measured; those given up early have that of their only run. */
  readonly measured: Readonly<Record<string, number>>;
}

/** Shape (`Tunable.key`) → what was measured of it. */
export type TunedEntries = Readonly<Record<string, TunedEntry>>;

/** A table as it is kept: only for the adapter, driver and engine version that it was measured with. */
export interface TunedTable {
  readonly format: 'sgp-sam tuned 1';
  readonly adapter: Pick<AdapterReport, 'vendor' | 'architecture' | 'device' | 'description'>;
  readonly engineVersion: string;
  /** ISO 8601. */
  readonly date: string;
  readonly entries: TunedEntries;
}

/** How `tuneProgram` measures. */
export interface TuneOptions {
  /** Timed runs of each candidate that survives its first, default 3. */
  readonly runs?: number;
  readonly ceilings: Ceilings;
  /** Told, at the end, of variants that the driver does not compile. */
  readonly refused?: (variants: readonly string[]) => void;
  /** Told of sweeps. */
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A candidate this much slower than the best in its first runs is not measured again. */
const GIVEN_UP = 1.7;
/** At this share of its roof a shape is saturated: what is left to gain is not worth the measuring. */
const SATURATED = 0.8;
/** The planner's own choice is kept unless another is faster by more than noise. */
const WORTHWHILE = 0.95;

/** A program compiled with these choices, its inputs written. */
export type CompileWith = (tuned: Readonly<Record<string, string>>) => Promise<Program>;

interface Shape {
  readonly candidates: readonly string[];
  readonly usual: string;
  /** The fastest so far, ms per call. */
  readonly times: Map<string, number>;
  saturated: boolean;
}

/** Dispatch times by key, the sum over the dispatches that share one. */
async function timesByKey(program: Program, runs: number, signal: AbortSignal | undefined) {
  const { passes } = await program.profile({ runs, signal });
  const sums = new Map<
    string,
    { ms: number; calls: number; flops: number; bytes: number; variant: string }
  >();
  program.dispatches.forEach(({ tunable, variant, cost }, i) => {
    if (!tunable) return;
    const sum = sums.get(tunable.key) ?? { ms: 0, calls: 0, flops: 0, bytes: 0, variant };
    // The fastest: what else the machine does only makes it slower.
    sum.ms += Math.min(...(passes[i]?.samples ?? [Number.NaN]));
    sum.calls++;
    sum.flops += cost.flops;
    sum.bytes += cost.bytes;
    sums.set(tunable.key, sum);
  });
  return sums;
}

/**
 * Measures every shape of a program that has a choice. A candidate that does not compile is passed over.
 * @param compile makes the program anew for each sweep; it is disposed of here
 * @returns one entry per shape
 */
export async function tuneProgram(compile: CompileWith, options: TuneOptions): Promise<TunedEntries> {
  need('tuneProgram: compile', compile, 'a function');
  needFields('tuneProgram: options', options, 'ceilings');
  needOptions('tuneProgram', options);
  const { runs = 3, ceilings, progress, signal } = options;
  const shapes = new Map<string, Shape>();
  const first = await compile({});
  try {
    for (const { tunable, variant } of first.dispatches) {
      if (!tunable || tunable.candidates.length < 2) continue;
      const { key, candidates } = tunable;
      // The usual one first: it is the one to beat.
      const order = [variant, ...candidates.filter((c) => c !== variant)];
      shapes.set(key, {
        candidates: order,
        usual: variant,
        times: new Map(),
        saturated: false,
      });
    }
  } finally {
    first.dispose();
  }
  /** Variants that this driver does not compile for some shape, whatever its features promise: not tried again for any. */
  const refused = new Set<string>();
  const most = Math.max(0, ...[...shapes.values()].map(({ candidates }) => candidates.length));
  const total = 2 * most;
  const bestOf = ({ times, usual }: Shape): string =>
    [...times].reduce((best, [name, ms]) => (ms < (times.get(best) ?? Infinity) ? name : best), usual);

  /** Measures these shapes' candidates (key → name) in one program in which every other shape has its best. */
  async function measure(candidates: ReadonlyMap<string, string>, times: number): Promise<void> {
    checkAborted(signal);
    if (candidates.size === 0) return;
    const tuned = Object.fromEntries(
      [...shapes].map(([key, shape]) => [key, candidates.get(key) ?? bestOf(shape)]),
    );
    let program: Program;
    try {
      program = await compile(tuned);
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'bad-shader') throw error;
      // Which of them it was, by halves. What the rule takes must compile.
      const all = [...candidates];
      const [[key, name] = []] = all;
      if (key === undefined || name === undefined || (all.length === 1 && shapes.get(key)?.usual === name))
        throw error;
      if (all.length === 1) refused.add(name);
      else
        for (const half of [all.slice(0, all.length / 2), all.slice(all.length / 2)])
          await measure(new Map(half.filter(([, other]) => !refused.has(other))), times);
      return;
    }
    try {
      // Drivers that compile late do it in a run that does not count.
      await program.run();
      for (const [key, sum] of await timesByKey(program, times, signal)) {
        const shape = shapes.get(key);
        if (!shape || sum.variant !== candidates.get(key)) continue;
        const before = shape.times.get(sum.variant) ?? Infinity;
        shape.times.set(sum.variant, Math.min(before, sum.ms / sum.calls));
        const roof = Math.max(
          sum.flops / 1e6 / sum.ms / ceilings.fmaGflops,
          sum.bytes / 1e6 / sum.ms / ceilings.copyGBs,
        );
        if (roof >= SATURATED) shape.saturated = true;
      }
    } finally {
      program.dispose();
    }
  }

  for (let sweep = 0; sweep < total; sweep++) {
    const again = sweep >= most;
    const wanted = new Map<string, string>();
    for (const [key, shape] of shapes) {
      const candidate = shape.candidates[sweep % most];
      const best = bestOf(shape);
      if (
        candidate !== undefined &&
        !shape.saturated &&
        !refused.has(candidate) &&
        (!again ||
          // Always measured again: all others are compared with it, and its first run came when nothing was warm.
          candidate === shape.usual ||
          (shape.times.get(candidate) ?? Infinity) <= GIVEN_UP * (shape.times.get(best) ?? 0))
      )
        wanted.set(key, candidate);
    }
    progress?.(sweep, total);
    await measure(wanted, again ? runs : 2);
  }
  progress?.(total, total);
  if (refused.size > 0) options.refused?.([...refused]);
  return Object.fromEntries(
    [...shapes].map(([key, shape]) => {
      const best = bestOf(shape);
      const [ms, usualMs] = [shape.times.get(best) ?? 0, shape.times.get(shape.usual) ?? 0];
      const variant = ms < WORTHWHILE * usualMs ? best : shape.usual;
      const entry: TunedEntry = {
        variant,
        ms: variant === best ? ms : usualMs,
        usual: shape.usual,
        usualMs,
        measured: Object.fromEntries(shape.times),
      };
      return [key, entry];
    }),
  );
}

/** The table to keep of what was measured on an engine's device. */
export function tunedTable(engine: Engine, entries: TunedEntries): TunedTable {
  needFields('engine', engine, 'gpu', 'device');
  need('tunedTable: entries', entries, 'an object');
  const { vendor, architecture, device, description } = engine.gpu.adapter;
  return {
    format: 'sgp-sam tuned 1',
    adapter: { vendor, architecture, device, description },
    engineVersion: __VERSION__,
    date: new Date().toISOString(),
    entries,
  };
}

/** What an `Engine` takes: shape → variant. */
export function choicesOf(table: TunedTable): Record<string, string> {
  needFields('table', table, 'entries', 'adapter');
  const { entries } = table;
  needList('table.entries', Object.values(entries), 'variant');
  return Object.fromEntries(Object.entries(entries).map(([key, { variant }]) => [key, variant]));
}

/** Whether a table was measured on this adapter, with this driver and this engine. */
export function tableFits(table: TunedTable, adapter: AdapterReport): boolean {
  needFields('table', table, 'entries', 'adapter');
  const fields = ['vendor', 'architecture', 'device', 'description'] as const;
  needFields('adapter', adapter, ...fields);
  return table.engineVersion === __VERSION__ && fields.every((f) => table.adapter[f] === adapter[f]);
}

/**
 * Reads a table back from its JSON.
 * @param name of the file, for errors
 * @throws SgpSamError `bad-file` naming the field
 */
export function parseTunedTable(text: string | Uint8Array, name: string): TunedTable {
  const mend = 'Measure anew: sgp-sam tune.';
  const fail = (what: string) => new SgpSamError('bad-file', `${name}: ${what}`, mend);
  const value = readJson(text, name, mend);
  if (!isJsonObject(value) || value.format !== 'sgp-sam tuned 1') throw fail('format is not a tuned table');
  const wrong = fields({
    engineVersion: textShape,
    adapter: fields({
      vendor: textShape,
      architecture: textShape,
      device: textShape,
      description: textShape,
    }),
    entries: object,
  })(value, '');
  if (wrong !== undefined) throw fail(wrong);
  for (const [key, entry] of Object.entries(value.entries as JsonObject)) {
    const odd = fields({ variant: textShape })(entry, `entries['${key}']`);
    if (odd !== undefined) throw fail(odd);
  }
  return value as unknown as TunedTable;
}
