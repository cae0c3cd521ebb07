/**
 * Tuning: which variant serves each shape best on this device, by timing the dispatches that programs make of it.
 *
 * In a sweep every shape that can choose takes one of its candidates, all at once: one program is compiled, and of the dispatches that are the
 * same text on the same sizes one is timed. Candidates that are clearly behind leave (race.ts): a round is as many sweeps as the
 * shape with most candidates left.
 */
import { need, needFields, needList, needOptions } from '../../base/arguments.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import { isJsonObject, type JsonObject, readJson } from '../../base/json.js';
import { fields, number, object, text as textShape } from '../../base/shape.js';
import type { AdapterReport } from '../gpu/device.js';
import type { Engine } from '../gpu/engine.js';
import type { Program } from '../graph/program.js';
import type { Ceilings } from './ceilings.js';
import { Race } from './race.js';

/** What was measured of one shape. */
export interface TunedEntry {
  /** The best. */
  readonly variant: string;
  readonly ms: number;
  /** What the planner would have taken, and its time. */
  readonly usual: string;
  readonly usualMs: number;
  /** Times of all that were measured, the fastest of each; those that were clearly behind have that of their only run. */
  readonly measured: Readonly<Record<string, number>>;
  /** The measuring was interrupted: the next goes on with it. */
  readonly unsettled?: true;
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
  /** Rounds after the first, in which whoever is left is timed once more; default 3. */
  readonly runs?: number;
  readonly ceilings: Ceilings;
  /** What is known already: such shapes are not measured again, and those that are `unsettled` are gone on with. */
  readonly known?: TunedEntries | undefined;
  /** Told, and waited for, of what is known after each sweep: to be kept, should it be the last. */
  readonly keep?: (entries: TunedEntries) => void | Promise<void>;
  /** Told, at the end, of variants that the driver does not compile. */
  readonly refused?: (variants: readonly string[]) => void;
  /** Told of work done, and of all that there may be, which gets less; `note` says what is done. */
  readonly progress?: (done: number, total: number, note?: string) => void;
  /** Looked at between dispatches that compile and between submits. */
  readonly signal?: AbortSignal | undefined;
}

/** At this share of its roof a shape is saturated: what is left to gain is not worth the measuring. */
const SATURATED = 0.8;
/** Dispatches below it are timed three times at a time, and the fastest counts: else another process's turn is taken for theirs. */
const CHEAP_MS = 50;
/** The planner's own choice is kept unless another is faster by more than noise. */
const WORTHWHILE = 0.95;
/** The same while the measuring is not at its end. */
const WORTHWHILE_UNSETTLED = 0.8;

/** A program compiled with these choices. It need not have been run. */
export type CompileWith = (tuned: Readonly<Record<string, string>>) => Promise<Program>;

interface Shape {
  readonly usual: string;
  readonly race: Race;
  /** Measured in this call, or known from before. */
  known?: TunedEntry;
}

/** One of each kind of dispatch of a shape, and how many there are of it. */
interface Kind {
  readonly at: number;
  calls: number;
}

/**
 * The dispatches that a program's shapes are timed by. What is the same text on the same sizes takes the same time: so one of each, in the
 * order of the program.
 */
function kindsOf(program: Program, wanted: ReadonlyMap<string, string>): Map<string, Kind[]> {
  const kinds = new Map<string, Map<string, Kind>>();
  program.dispatches.forEach(({ tunable, variant, shader, workgroups, cost }, at) => {
    if (!tunable || variant !== wanted.get(tunable.key)) return;
    const of = kinds.get(tunable.key) ?? new Map<string, Kind>();
    kinds.set(tunable.key, of);
    const name = [workgroups.join(), cost.flops, cost.bytes, shader.code].join('\n');
    const kind = of.get(name);
    if (kind) kind.calls++;
    else of.set(name, { at, calls: 1 });
  });
  return new Map([...kinds].map(([key, of]) => [key, [...of.values()]]));
}

/** Times the shapes that have the wanted variants, ms per call, and the share of its roof that each reached. */
async function timesByKey(
  program: Program,
  kinds: ReadonlyMap<string, readonly Kind[]>,
  ceilings: Ceilings,
  signal: AbortSignal | undefined,
): Promise<Map<string, { ms: number; ofRoof: number }>> {
  const only = [...kinds.values()].flatMap((of) => of.map(({ at }) => at)).sort((a, b) => a - b);
  const msAt = new Map<number, number>();
  const time = async (which: readonly number[], times: number) => {
    const { passes } = await program.profile({ runs: times, only: which, signal });
    which.forEach((at, i) => {
      msAt.set(at, Math.min(msAt.get(at) ?? Infinity, ...(passes[i]?.samples ?? [])));
    });
  };
  await time(only, 1);
  // What is short may have been kept waiting for as long again, and costs nothing.
  const short = only.filter((at) => msAt.get(at)! < CHEAP_MS);
  if (short.length > 0) await time(short, 2);
  return new Map(
    [...kinds].map(([key, of]) => {
      const sum = { ms: 0, flops: 0, bytes: 0, calls: 0 };
      for (const { at, calls } of of) {
        const { flops, bytes } = program.dispatches[at].cost;
        sum.ms += calls * (msAt.get(at) ?? Number.NaN);
        sum.flops += calls * flops;
        sum.bytes += calls * bytes;
        sum.calls += calls;
      }
      const ofRoof = Math.max(
        sum.flops / 1e6 / sum.ms / ceilings.fmaGflops,
        sum.bytes / 1e6 / sum.ms / ceilings.copyGBs,
      );
      return [key, { ms: sum.ms / sum.calls, ofRoof }];
    }),
  );
}

/** What is known of a shape; undefined while the usual variant was not measured, which all is compared with. */
function entryOf({ usual, race, known }: Shape): TunedEntry | undefined {
  if (known && !known.unsettled) return known;
  const usualMs = race.times.get(usual);
  const best = race.best;
  if (usualMs === undefined || best === undefined) return known;
  const ms = race.times.get(best) as number;
  const worthwhile = race.over ? WORTHWHILE : WORTHWHILE_UNSETTLED;
  const variant = ms < worthwhile * usualMs ? best : usual;
  return {
    variant,
    ms: variant === best ? ms : usualMs,
    usual,
    usualMs,
    measured: { ...race.behind, ...Object.fromEntries(race.times) },
    ...(race.over ? {} : { unsettled: true }),
  };
}

/**
 * Measures every shape of a program that has a choice, each candidate by dispatches of its own on made-up values. A candidate that does
 * not compile is passed over.
 * @param compile makes the program anew for each sweep; it is disposed of here
 * @returns one entry per shape
 * @throws SgpSamError `aborted`; `keep` was then told of what was measured before
 */
export async function tuneProgram(compile: CompileWith, options: TuneOptions): Promise<TunedEntries> {
  need('tuneProgram: compile', compile, 'a function');
  needFields('tuneProgram: options', options, 'ceilings');
  needOptions('tuneProgram', options);
  const { runs = 3, ceilings, known = {}, keep, progress, signal } = options;
  const shapes = new Map<string, Shape>();
  const first = await compile({});
  try {
    for (const { tunable, variant } of first.dispatches) {
      if (!tunable || tunable.candidates.length < 2 || shapes.has(tunable.key)) continue;
      const { key, candidates } = tunable;
      const entry = known[key];
      // The usual one first: it is the one to beat.
      const order = [variant, ...candidates.filter((c) => c !== variant)];
      const race = new Race(order, runs, entry?.unsettled ? entry.measured : {});
      if (entry && !entry.unsettled) race.settle();
      shapes.set(key, { usual: variant, race, ...(entry ? { known: entry } : {}) });
    }
  } finally {
    first.dispose();
  }
  /** Variants that this driver does not compile for some shape, whatever its features promise: not tried again for any. */
  const refused = new Set<string>();
  const all = [...shapes.values()];
  const entries = (): TunedEntries =>
    Object.fromEntries(
      [...shapes].flatMap(([key, shape]) => {
        const entry = entryOf(shape);
        return entry ? [[key, entry] as const] : [];
      }),
    );
  let done = 0;
  const tell = (note: string) => {
    const left = all.reduce((sum, { race }) => sum + (race.over ? 0 : race.most), 0);
    progress?.(done, Math.max(total(left), done + 1), note);
  };
  const total = (left: number) => before + left;
  /** Measurements of the rounds that are over. */
  let before = 0;

  /** Compiles a program in which these shapes have these candidates, and every other its best. */
  async function compileWith(candidates: ReadonlyMap<string, string>): Promise<Program> {
    const tuned = [...shapes].map(
      ([key, { race, known: entry, usual }]) =>
        [key, candidates.get(key) ?? race.best ?? entry?.variant ?? usual] as const,
    );
    return compile(Object.fromEntries(tuned));
  }

  /** Measures these shapes' candidates (key → name), each once. */
  async function measure(candidates: ReadonlyMap<string, string>, round: string): Promise<void> {
    checkAborted(signal);
    if (candidates.size === 0) return;
    tell(`${round}, compiling`);
    let program: Program;
    try {
      program = await compileWith(candidates);
    } catch (error) {
      if (!(error instanceof SgpSamError) || error.code !== 'bad-shader') throw error;
      // Which of them it was, by halves. What the rule takes must compile.
      const pairs = [...candidates];
      const [[key, name] = []] = pairs;
      if (key === undefined || name === undefined) throw error;
      if (pairs.length === 1 && shapes.get(key)?.usual === name) throw error;
      if (pairs.length === 1) {
        refused.add(name);
        for (const { race } of all) race.refuse(name);
      } else
        for (const half of [pairs.slice(0, pairs.length / 2), pairs.slice(pairs.length / 2)])
          await measure(new Map(half.filter(([, other]) => !refused.has(other))), round);
      return;
    }
    try {
      const kinds = kindsOf(program, candidates);
      // Drivers that compile late do it in a run that does not count.
      const only = [...kinds.values()].flatMap((of) => of.map(({ at }) => at));
      const next = async () => {
        checkAborted(signal);
        tell(`${round}, compiling`);
        return true;
      };
      await program.rehearse(next, only);
      tell(`${round}, timing`);
      for (const [key, { ms, ofRoof }] of await timesByKey(program, kinds, ceilings, signal)) {
        const { race } = shapes.get(key) as Shape;
        race.record(candidates.get(key) as string, ms);
        if (ofRoof >= SATURATED) race.settle();
      }
      done += candidates.size;
    } finally {
      program.dispose();
    }
  }

  for (let round = 0; all.some(({ race }) => !race.over); round++) {
    const fields = new Map([...shapes].flatMap(([key, { race }]) => (race.over ? [] : [[key, race.field]])));
    const sweeps = Math.max(...[...fields.values()].map((field) => field.length));
    for (let sweep = 0; sweep < sweeps; sweep++) {
      const wanted = new Map<string, string>();
      for (const [key, field] of fields) {
        const candidate = field[sweep];
        if (candidate !== undefined && !refused.has(candidate) && !shapes.get(key)?.race.over)
          wanted.set(key, candidate);
      }
      await measure(wanted, `round ${round + 1}, sweep ${sweep + 1} of ${sweeps}`);
      await keep?.(entries());
    }
    for (const { race } of all) if (!race.over) race.endRound();
    before = done;
  }
  progress?.(done, done);
  if (refused.size > 0) options.refused?.([...refused]);
  const found = entries();
  await keep?.(found);
  return found;
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
    const odd = fields({
      variant: textShape,
      ms: number,
      usual: textShape,
      usualMs: number,
      measured: object,
    })(entry, `entries['${key}']`);
    if (odd !== undefined) throw fail(odd);
  }
  return value as unknown as TunedTable;
}
