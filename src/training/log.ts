/** The training log: one JSON object per line, appended while a run goes on and read for its report and its resumption. */
import { SgpSamError } from '../base/errors.js';
import { isJsonObject, type JsonObject, jsonText, readJson } from '../base/json.js';
import {
  fields,
  flag,
  listOf,
  number,
  object,
  oneOf,
  optional,
  orNull,
  type Shape,
  text,
} from '../base/shape.js';
import type { ModelConfig } from '../sam/config.js';
import type { GateSummary } from './gate-summary.js';
import type { Recipe } from './recipe.js';
import type { LossParts } from './step.js';
import type { TrainerProgress } from './trainer.js';
import type { SizeSummary } from './validation.js';

/** A run begins, or goes on after a stop. */
export interface RunEntry {
  readonly kind: 'run';
  readonly config: ModelConfig;
  readonly recipe: Recipe;
  /** What was trained on and validated with. */
  readonly data: JsonObject;
  /** Which base weights. */
  readonly base: string;
  /** Which device computed. */
  readonly adapter: string;
  /** Numbers in the trained parameters. */
  readonly trained: number;
  /** Of this program. */
  readonly version: string;
}

/** One click on one cube. */
export interface StepEntry {
  readonly kind: 'step';
  /** The cube's number, from 0. */
  readonly sample: number;
  /** From 1. */
  readonly click: number;
  readonly clicks: number;
  readonly case: string;
  /** The lesion's volume. */
  readonly millilitres: number;
  /** Before the update; the parts without their factors. */
  readonly loss: LossParts;
  /** Before clipping; absent where gradients were only accumulated. */
  readonly gradNorm?: number | undefined;
  readonly lr: number;
  /** With a budget: the share of the fusion's work that gates opened, noise included. */
  readonly open?: number | undefined;
  readonly ms: number;
}

/** A validation between cubes. */
export interface ValidationEntry {
  readonly kind: 'validation';
  /** Cubes done. */
  readonly sample: number;
  /** Mean over lesions. */
  readonly dice: number;
  /** Share of open channels per SGPM. */
  readonly open: readonly number[];
  readonly sizes: readonly SizeSummary[];
  /** What the gates did; runs of before did not say. */
  readonly gates?: GateSummary | undefined;
  /** Whether it was the best so far. */
  readonly best: boolean;
  readonly ms: number;
}

/** The run is over. */
export interface EndEntry {
  readonly kind: 'end';
  readonly ended: NonNullable<TrainerProgress['ended']>;
  /** Cubes done. */
  readonly samples: number;
  readonly best: TrainerProgress['best'];
  /** Wall-clock time of the process that came to the end; what ran before it was resumed is not in it. */
  readonly seconds: number;
}

export type LogEntry = RunEntry | StepEntry | ValidationEntry | EndEntry;

/**
 * An entry's line, with its newline.
 * @throws SgpSamError `bad-argument` naming a number that is NaN or infinite
 */
export function logLine(entry: LogEntry): string {
  return `${jsonText(entry, `log entry '${entry.kind}'`)}\n`;
}

/** Of configuration and recipe only what reading a log relies on: a log outlives the program that wrote it. */
const FIELDS: {
  readonly [K in LogEntry['kind']]: Readonly<
    Record<Exclude<keyof Extract<LogEntry, { kind: K }>, 'kind'>, Shape>
  >;
} = {
  run: {
    config: fields({
      name: text,
      sgpm: optional(fields({ sites: listOf(number), gate: optional(oneOf('channel', 'branch', 'module')) })),
    }),
    recipe: fields({ arm: text, loss: text, samples: number, clip: number, patience: number }),
    data: object,
    base: text,
    adapter: text,
    trained: number,
    version: text,
  },
  step: {
    sample: number,
    click: number,
    clicks: number,
    case: text,
    millilitres: number,
    loss: fields({ total: number, dice: number, focal: number, ce: number }),
    gradNorm: optional(number),
    open: optional(number),
    lr: number,
    ms: number,
  },
  validation: {
    sample: number,
    dice: number,
    open: listOf(number),
    sizes: listOf(
      fields({
        name: text,
        lesions: number,
        dice: listOf(number),
        open: listOf(number),
        fusion: optional(number),
      }),
    ),
    gates: optional(
      fields({
        fusion: number,
        variety: number,
        flips: optional(number),
        scales: listOf(fields({ name: text, lesions: number, fusion: number })),
      }),
    ),
    best: flag,
    ms: number,
  },
  end: {
    ended: oneOf('all samples', 'no improvement'),
    samples: number,
    best: orNull(fields({ dice: number, sample: number })),
    seconds: number,
  },
};

/** A run needs its checkpoint alone. */
const MEND = 'Mend that line, or take the log away: a run goes on without it.';

function entryOf(value: unknown, log: string, line: number): LogEntry {
  const fail = (what: string): never => {
    throw new SgpSamError('bad-file', `${log}, line ${line}: ${what}`, MEND);
  };
  if (!isJsonObject(value)) return fail('is not an object');
  const { kind } = value;
  if (typeof kind !== 'string' || !Object.hasOwn(FIELDS, kind))
    return fail(`there is no entry of kind ${JSON.stringify(kind) ?? 'undefined'}`);
  const wrong = fields(FIELDS[kind as LogEntry['kind']])(value, '');
  if (wrong !== undefined) fail(`${wrong} (entry '${kind}')`);
  return value as unknown as LogEntry;
}

/**
 * The entries of a log. A last line that ends in the middle is left out: its process was killed while it wrote.
 * @param name what errors call it
 * @throws SgpSamError `bad-file` naming the number of any other line that is not an entry
 */
export function parseLog(log: string, name = 'training log'): LogEntry[] {
  const lines = log.split('\n');
  // What follows the last newline: nothing, or a line without its end.
  const unended = lines.length;
  if (lines[unended - 1] === '') lines.pop();
  const entries: LogEntry[] = [];
  for (const [i, line] of lines.entries()) {
    let value: unknown;
    try {
      value = readJson(line, name);
    } catch (cause) {
      // No proper beginning of an object is an object: a line that parses lost its newline at most.
      if (i + 1 === unended) break;
      throw new SgpSamError('bad-file', `${name}, line ${i + 1}: is not JSON`, MEND, { cause });
    }
    entries.push(entryOf(value, name, i + 1));
  }
  return entries;
}

/**
 * What a run that goes on after `samples` cubes keeps of its log: the rest it will do again.
 * @param samples cubes done, as its checkpoint has it
 */
export function keepUpTo(entries: readonly LogEntry[], samples: number): LogEntry[] {
  return entries.filter((entry) => {
    if (entry.kind === 'step') return entry.sample < samples;
    if (entry.kind === 'validation') return entry.sample <= samples;
    return entry.kind === 'run';
  });
}
