/** How long compute passes take on the device: by its timestamps, or where there are none by the host's clock. */
import { checkAborted } from '../../base/errors.js';
import type { Engine } from './engine.js';
import { timestampStep } from './probe.js';

/** Encodes what is to be timed into a pass that is open already. */
export type EncodePass = (pass: GPUComputePassEncoder) => void;

export interface PassTimeOptions {
  /** How often all of it is run, default 3; what a pass takes is a sample of each. */
  readonly runs?: number;
  /** Encoded before the first pass of each run. */
  readonly prepare?: (encoder: GPUCommandEncoder) => void;
  /**
   * A pass too short for the clock is encoded several times over inside one timed pass, in further runs after the
   * others (true, the default): what it writes is then whatever repeating it makes.
   */
  readonly repeatShort?: boolean;
  /** Told of passes done, of all there are in every run. */
  readonly progress?: (done: number, total: number) => void;
  /** Looked at between submits. */
  readonly signal?: AbortSignal | undefined;
}

/** What one pass took. */
export interface PassTime {
  /** Milliseconds for one execution, a value per run. */
  readonly samples: readonly number[];
  /** How many executions shared a timed pass. */
  readonly inRow: number;
  /** When it began in the last ordinary run, in ms after that run's first pass; for a timeline. */
  readonly beginMs: number;
  /** False where even repeated it was below what the clock resolves: the samples are then an upper bound at best. */
  readonly resolved: boolean;
}

export interface PassTimes {
  readonly passes: readonly PassTime[];
  /** `gpu` for timestamps; `host` waits for every pass, and counts that wait in: without timestamps, or with ones that stand still. */
  readonly clock: 'gpu' | 'host';
  /** The clock's step, ms. */
  readonly stepMs: number;
}

/** Passes in a submit: a driver resets a GPU that is busy for seconds. */
const CHUNK = 64;
/** A pass should last this many steps of the clock, and this many ms, to be believed. */
const STEPS = 20;
const SHORTEST_MS = 0.02;
const MOST_IN_ROW = 512;
/** Step of `performance.now()` and the cost of a submit and a wait: what the host's clock can tell. */
const HOST_STEP_MS = 0.1;

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

/** Begin and end of each of up to CHUNK passes, in ms of the device's clock. */
class TimestampClock {
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;

  constructor(private readonly engine: Engine) {
    const count = 2 * CHUNK;
    this.querySet = engine.device.createQuerySet({ type: 'timestamp', count });
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    this.resolved = engine.memory.allocate('timestamps', 8 * count, usage);
  }

  async time(passes: readonly EncodePass[], prepare?: (encoder: GPUCommandEncoder) => void) {
    const { device } = this.engine;
    const encoder = device.createCommandEncoder({ label: 'timing' });
    prepare?.(encoder);
    passes.forEach((encode, i) => {
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet: this.querySet,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      encode(pass);
      pass.end();
    });
    encoder.resolveQuerySet(this.querySet, 0, 2 * passes.length, this.resolved, 0);
    device.queue.submit([encoder.finish()]);
    const bytes = await this.engine.read({ buffer: this.resolved, offset: 0, size: 16 * passes.length });
    const stamps = new BigUint64Array(bytes);
    return passes.map((_, i) => [Number(stamps[2 * i]) / 1e6, Number(stamps[2 * i + 1]) / 1e6] as const);
  }

  dispose(): void {
    this.querySet.destroy();
    this.engine.memory.free(this.resolved);
  }
}

/** The same by waiting for each pass. */
async function timeOnHost(
  engine: Engine,
  passes: readonly EncodePass[],
  prepare?: (encoder: GPUCommandEncoder) => void,
) {
  const times: (readonly [number, number])[] = [];
  for (const [i, encode] of passes.entries()) {
    const encoder = engine.device.createCommandEncoder({ label: 'timing' });
    if (i === 0) prepare?.(encoder);
    const pass = encoder.beginComputePass();
    encode(pass);
    pass.end();
    const commands = encoder.finish();
    const begin = performance.now();
    engine.device.queue.submit([commands]);
    await engine.idle();
    times.push([begin, performance.now()]);
  }
  return times;
}

/**
 * Times passes one by one, in order, `runs` times.
 * @returns one {@link PassTime} per pass; medians are the caller's to take
 */
export async function timePasses(
  engine: Engine,
  passes: readonly EncodePass[],
  options: PassTimeOptions = {},
): Promise<PassTimes> {
  if (engine.gpu.tier.timestamps) {
    const stepMs = ((await timestampStep(engine.gpu)) ?? 0) / 1e6;
    const times = await timeBy(engine, passes, options, new TimestampClock(engine), stepMs);
    // A driver may offer timestamps that stand still, within a pass or altogether.
    if (passes.length === 0 || times.passes.some(({ samples }) => median(samples) > 0)) return times;
  }
  return timeBy(engine, passes, options, undefined, HOST_STEP_MS);
}

async function timeBy(
  engine: Engine,
  passes: readonly EncodePass[],
  options: PassTimeOptions,
  clock: TimestampClock | undefined,
  stepMs: number,
): Promise<PassTimes> {
  const { runs = 3, prepare, repeatShort = true, progress, signal } = options;
  const total = runs * passes.length;
  let done = 0;
  try {
    const sweep = async (which: readonly EncodePass[], first?: (encoder: GPUCommandEncoder) => void) => {
      const times: (readonly [number, number])[] = [];
      for (let at = 0; at < which.length; at += CHUNK) {
        checkAborted(signal);
        const chunk = which.slice(at, at + CHUNK);
        const before = at === 0 ? first : undefined;
        times.push(...(clock ? await clock.time(chunk, before) : await timeOnHost(engine, chunk, before)));
        done += chunk.length;
        progress?.(Math.min(done, total), total);
      }
      return times;
    };
    const samples: number[][] = passes.map(() => []);
    let last: (readonly [number, number])[] = [];
    for (let run = 0; run < runs; run++) {
      last = await sweep(passes, prepare);
      last.forEach(([begin, end], i) => {
        // A driver may reset its clock, or hand out one that runs backwards between passes.
        samples[i]?.push(Math.max(0, end - begin));
      });
    }
    const enough = Math.max(SHORTEST_MS, STEPS * stepMs);
    const inRow = samples.map((of) => {
      const ms = median(of);
      if (!repeatShort || ms >= enough) return 1;
      return Math.min(MOST_IN_ROW, Math.ceil(enough / Math.max(ms, stepMs / 2, enough / MOST_IN_ROW)));
    });
    const short = passes.flatMap((_, i) => ((inRow[i] as number) > 1 ? [i] : []));
    const repeated = short.map((i) => (pass: GPUComputePassEncoder) => {
      for (let n = 0; n < (inRow[i] as number); n++) passes[i]?.(pass);
    });
    const longer: number[][] = short.map(() => []);
    for (let run = 0; run < runs && short.length > 0; run++) {
      (await sweep(repeated)).forEach(([begin, end], n) => {
        longer[n]?.push(Math.max(0, end - begin));
      });
    }
    const origin = last[0]?.[0] ?? 0;
    return {
      clock: clock ? 'gpu' : 'host',
      stepMs,
      passes: passes.map((_, i) => {
        const row = inRow[i] as number;
        const measured = row > 1 ? (longer[short.indexOf(i)] as number[]) : (samples[i] as number[]);
        return {
          samples: measured.map((ms) => ms / row),
          inRow: row,
          beginMs: (last[i]?.[0] ?? origin) - origin,
          resolved: median(measured) >= 2 * stepMs && median(measured) > 0,
        };
      }),
    };
  } finally {
    clock?.dispose();
  }
}
