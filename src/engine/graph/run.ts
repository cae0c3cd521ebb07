/** One run of a program: its dispatches as one pass and one submit, unless a time budget or the readback mode asks for more. */
import { checkAborted, SgpSamError } from '../../base/errors.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import type { Workgroups } from '../kernels/call.js';
import { type RegionMode, type RegionState, workgroupCount } from './regions.js';

/** How one run goes. */
export interface RunOptions {
  readonly mode?: RegionMode;
  /** Splits the run into submits of about this many milliseconds each, waiting between them. */
  readonly budgetMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: ((done: number, total: number) => void) | undefined;
}

/** What one run took of the host. */
export interface RunReport {
  readonly submits: number;
  /** Dispatches given to the device. */
  readonly encoded: number;
  /** What the host spent on encoding and submitting them, without any waiting, ms. */
  readonly hostMs: number;
}

/** A dispatch that is ready to be encoded. */
export interface Prepared {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly workgroups: Workgroups;
  readonly flops: number;
  readonly region: RegionState | undefined;
  /** Place among the region's dispatches. */
  readonly index: number;
}

/** Encodes one dispatch, of `size` workgroups unless the gate's own count decides. */
export function encodeOne(
  pass: GPUComputePassEncoder,
  one: Prepared,
  mode: RegionMode,
  size: Workgroups,
): void {
  pass.setPipeline(one.pipeline);
  pass.setBindGroup(0, one.bindGroup);
  if (one.region && mode === 'indirect') {
    pass.dispatchWorkgroupsIndirect(one.region.decision.buffer, 16 * one.index);
  } else pass.dispatchWorkgroups(size[0], size[1], size[2]);
}

/** The speed that earlier submits reached: how a time budget becomes a number of dispatches. */
export interface Rate {
  gflops: number;
  /** MFLOP and milliseconds it is from, those of a submit worth half of those of the next. */
  work: number;
  ms: number;
}

/** What a run is made of. */
export interface Runnable {
  readonly engine: Engine;
  readonly label: string;
  readonly prepared: readonly Prepared[];
  /** Whether the program was disposed of, which can happen while a run waits. */
  readonly disposed: () => boolean;
  /** Set to zero before the first dispatch. */
  readonly counters: BufferSlice | undefined;
  readonly rate: Rate;
}

/** By how much a submit may be longer than the one before it. */
const MOST_GROWTH = 4;

/**
 * Submits one run. Resolves when everything is submitted.
 * @throws SgpSamError `bad-argument` if the program was disposed of meanwhile, `aborted`
 */
export async function submitRun(
  { engine, label, prepared, disposed, counters, rate }: Runnable,
  { mode = 'predicated', budgetMs, signal, progress }: RunOptions,
): Promise<RunReport> {
  const { device } = engine;
  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  let submits = 0;
  let encoded = 0;
  let flops = 0;
  const start = () => {
    encoder ??= device.createCommandEncoder({ label });
    if (counters && submits === 0 && !pass) encoder.clearBuffer(counters.buffer);
    pass ??= encoder.beginComputePass();
    return pass;
  };
  let waited = 0;
  const submit = () => {
    if (!encoder) return;
    pass?.end();
    device.queue.submit([encoder.finish()]);
    encoder = pass = undefined;
    submits++;
  };
  // Its owner can dispose of it whenever this waits, or in `progress`.
  const checkOpen = () => {
    if (disposed()) throw new SgpSamError('bad-argument', 'this program was disposed of');
  };
  const entered = performance.now();
  const waiting = async <R>(work: Promise<R>): Promise<R> => {
    const begun = performance.now();
    const result = await work;
    waited += performance.now() - begun;
    checkOpen();
    return result;
  };
  /** In readback mode, the dispatch counts that the host read for a region. */
  const counts = new Map<RegionState, Uint32Array>();
  for (let i = 0; i < prepared.length; i++) {
    const one = prepared[i];
    const { region, index, flops: cost } = one;
    let size = one.workgroups;
    if (region && mode === 'readback') {
      let read = counts.get(region);
      if (!read) {
        submit();
        const { buffer } = region.decision;
        read = new Uint32Array(
          await waiting(engine.read({ buffer, offset: 0, size: 16 * region.calls.length })),
        );
        counts.set(region, read);
      }
      size = [read[4 * index], read[4 * index + 1], read[4 * index + 2]];
      if (workgroupCount(size) === 0) continue;
    }
    encodeOne(start(), one, mode, size);
    engine.started.add(one.pipeline);
    encoded++;
    flops += cost;
    if (budgetMs !== undefined && flops >= rate.gflops * 1e6 * budgetMs) {
      // How late the host is told counts twice, and cancels: only the work itself is measured.
      const before = engine.mark();
      submit();
      const [begun, ended] = await waiting(engine.wait(Promise.all([before, engine.done()])));
      rate.work = rate.work / 2 + flops / 1e6;
      rate.ms = rate.ms / 2 + ended - begun;
      rate.gflops = Math.min(MOST_GROWTH * rate.gflops, Math.max(0.05, rate.work / Math.max(0.1, rate.ms)));
      flops = 0;
      checkAborted(signal);
      progress?.(i + 1, prepared.length);
      checkOpen();
    }
  }
  submit();
  return { submits, encoded, hostMs: performance.now() - entered - waited };
}
