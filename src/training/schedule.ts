/** Learning rate schedules: what multiplies every group's learning rate, as a pure function of the update's number. */
import { need, needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';

interface Warmup {
  /** Updates over which the factor rises linearly, from 1/warmup of itself; 0 if not given. */
  readonly warmup?: number | undefined;
}

/** The same factor throughout. */
export interface ConstantSchedule extends Warmup {
  readonly kind: 'constant';
}

/** Half a cosine from 1 to `floor` over the updates after the warmup. */
export interface CosineSchedule extends Warmup {
  readonly kind: 'cosine';
  /** Where the factor ends, in [0, 1]; 0 if not given. */
  readonly floor?: number | undefined;
}

/** Multiplied by `gamma` at each milestone. */
export interface MultiStepSchedule extends Warmup {
  readonly kind: 'multi-step';
  /** Fractions of all updates, rising, between 0 and 1. */
  readonly milestones: readonly number[];
  /** In (0, 1]. */
  readonly gamma: number;
}

/** Plain data: it goes into a checkpoint as JSON and comes back the same. */
export type Schedule = ConstantSchedule | CosineSchedule | MultiStepSchedule;

const FORMS =
  "Use 'constant', 'cosine', 'cosine:FLOOR' or 'multi-step:FRACTION,…:GAMMA' (multi-step:0.6,0.8:0.1).";

function fail(what: string): never {
  throw new SgpSamError('bad-argument', `learning rate schedule: ${what}`, FORMS);
}

/** @throws SgpSamError `bad-argument` naming the field that is out of its range */
function checkSchedule(schedule: Schedule): void {
  needFields('schedule', schedule, 'kind');
  const { kind, warmup = 0 } = schedule;
  if (!Number.isSafeInteger(warmup) || warmup < 0) fail(`warmup is ${warmup}, not a number of updates`);
  switch (kind) {
    case 'constant':
      return;
    case 'cosine': {
      const { floor = 0 } = schedule;
      if (!(floor >= 0 && floor <= 1)) fail(`the floor is ${floor}, not between 0 and 1`);
      return;
    }
    case 'multi-step': {
      const { milestones, gamma } = schedule;
      need('schedule.milestones', milestones, 'a list');
      if (milestones.length === 0) fail('no milestone is given');
      milestones.forEach((at, i) => {
        if (!(at > 0 && at < 1)) fail(`milestone ${at} is not between 0 and 1`);
        if (i > 0 && at <= milestones[i - 1]) fail(`milestone ${at} comes after ${milestones[i - 1]}`);
      });
      if (!(gamma > 0 && gamma <= 1)) fail(`gamma is ${gamma}, not above 0 and at most 1`);
      return;
    }
    default:
      fail(`there is no '${String(kind)}'`);
  }
}

/**
 * The factor of update `step`, counted from 0, of `total`: in the warmup it is (step + 1)/warmup of the schedule's, so that
 * no update is without effect. Steps beyond the last have the last one's end: a cosine's floor.
 * @throws SgpSamError `bad-argument` for a schedule, step or total that is none
 */
export function scheduleFactor(schedule: Schedule, step: number, total: number): number {
  checkSchedule(schedule);
  const { warmup = 0 } = schedule;
  if (!Number.isSafeInteger(total) || total < 1) fail(`${total} is not a number of updates`);
  if (!Number.isSafeInteger(step) || step < 0) fail(`${step} is not the number of an update`);
  if (warmup >= total && warmup > 0)
    fail(`a warmup of ${warmup} updates is not over before all ${total} are`);
  return Math.min(1, warmup > 0 ? (step + 1) / warmup : 1) * decay(schedule, step, total);
}

/** The factor apart from the warmup. */
function decay(schedule: Schedule, step: number, total: number): number {
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'cosine': {
      const { floor = 0, warmup = 0 } = schedule;
      const t = Math.min(1, Math.max(0, step - warmup) / (total - warmup));
      return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * t));
    }
    case 'multi-step': {
      // Rounded: 0.55 · 100 is a little more than 55.
      const passed = schedule.milestones.filter((at) => step >= Math.round(at * total)).length;
      return schedule.gamma ** passed;
    }
  }
}

/**
 * Reads a command line's schedule: `constant`, `cosine`, `cosine:FLOOR`, `multi-step:FRACTION,…:GAMMA`.
 * @param warmup updates of linear warmup, which has an option of its own
 * @throws SgpSamError `bad-argument` saying what is wrong and which forms there are
 */
export function parseSchedule(text: string, warmup = 0): Schedule {
  const [kind, ...rest] = text.trim().split(':');
  const ramp = warmup === 0 ? {} : { warmup };
  let schedule: Schedule;
  if (kind === 'constant' && rest.length === 0) schedule = { kind, ...ramp };
  else if (kind === 'cosine' && rest.length === 0) schedule = { kind, ...ramp };
  else if (kind === 'cosine' && rest.length === 1)
    schedule = { kind, floor: numberOf(rest[0], 'the floor'), ...ramp };
  else if (kind === 'multi-step' && rest.length === 2) {
    const milestones = rest[0].split(',').map((part) => numberOf(part, 'a milestone'));
    schedule = { kind, milestones, gamma: numberOf(rest[1], 'gamma'), ...ramp };
  } else return fail(`'${text}' is none`);
  checkSchedule(schedule);
  return schedule;
}

function numberOf(text: string, what: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) fail(`${what} is '${text}', not a number`);
  return value;
}
