/** What a device can do at most, measured: the two lines of its roofline (Williams et al. 2009). */
import { needFields } from '../../base/arguments.js';
import type { BufferSlice, Engine } from '../gpu/engine.js';
import { Graph } from '../graph/graph.js';
import { Program } from '../graph/program.js';
import type { KernelCall } from '../kernels/call.js';
import { capabilitiesOf } from '../kernels/capabilities.js';
import { type FmaSpec, planFma, planStream } from './ceiling-kernels.js';

/** What a device was measured to do at most: the roofline that `profile` sets dispatches against. */
export interface Ceilings {
  /** Fused multiply-adds in f32, all operands in registers, GFLOP/s (a multiply-add is two). */
  readonly fmaGflops: number;
  /** Which of the tried kernels that was. */
  readonly fmaKernel: string;
  /** In f16; null where the device has none. */
  readonly halfFmaGflops: number | null;
  /** Reading and writing buffers larger than caches usually are, GB/s, both directions counted. */
  readonly copyGBs: number;
}

const CHAINS: readonly Pick<FmaSpec, 'chains' | 'vec4'>[] = [
  { chains: 4, vec4: false },
  { chains: 8, vec4: false },
  { chains: 12, vec4: false },
  { chains: 16, vec4: false },
  { chains: 2, vec4: true },
  { chains: 4, vec4: true },
  { chains: 8, vec4: true },
];
/** Long enough for the clock, short enough for the eight of them. */
const TARGET_MS = 25;
const MiB = 2 ** 20;

async function timeCall(engine: Engine, call: KernelCall<BufferSlice>, runs: number): Promise<number> {
  const program = await Program.compile(engine, new Graph(), { epilogue: [call], label: 'ceilings' });
  try {
    const { passes } = await program.profile({ runs });
    // The best: everything else on the machine only makes it slower.
    return Math.min(...(passes[0]?.samples ?? [Number.NaN]));
  } finally {
    program.dispose();
  }
}

async function fmaCeiling(engine: Engine, half: boolean): Promise<{ gflops: number; kernel: string }> {
  const invocations = engine.gpu.adapter.kind === 'software' ? 2 ** 12 : 2 ** 19;
  const usage = GPUBufferUsage.STORAGE;
  const buffer = engine.memory.allocate('ceiling', 4 * invocations, usage);
  const y = { buffer, offset: 0, size: 4 * invocations };
  let best = { gflops: 0, kernel: '' };
  try {
    for (const which of CHAINS) {
      const spec = { ...which, half, invocations };
      const short = planFma({ ...spec, rounds: 32 }, y);
      const ms = await timeCall(engine, short, 2);
      const rounds = Math.max(32, Math.min(2 ** 16, Math.round((32 * TARGET_MS) / Math.max(ms, 0.01))));
      const long = planFma({ ...spec, rounds }, y);
      const gflops = long.cost.flops / 1e6 / (await timeCall(engine, long, 4));
      if (gflops > best.gflops) best = { gflops, kernel: long.variant };
    }
  } finally {
    engine.memory.free(buffer);
  }
  return best;
}

async function copyCeiling(engine: Engine): Promise<number> {
  const { maxBufferSize, maxStorageBufferBindingSize } = engine.gpu.limits;
  const size = Math.min(128 * MiB, maxBufferSize, maxStorageBufferBindingSize);
  const buffers = ['from', 'to'].map((name) => engine.memory.allocate(name, size, GPUBufferUsage.STORAGE));
  try {
    const [x, y] = buffers.map((buffer) => ({ buffer, offset: 0, size })) as [BufferSlice, BufferSlice];
    const call = planStream(capabilitiesOf(engine), size / 4, { x, y });
    return call.cost.bytes / 1e6 / (await timeCall(engine, call, 5));
  } finally {
    for (const buffer of buffers) engine.memory.free(buffer);
  }
}

/** Measures them: about two seconds. */
export async function measureCeilings(engine: Engine): Promise<Ceilings> {
  needFields('engine', engine, 'gpu', 'device');
  const fma = await fmaCeiling(engine, false);
  const half = engine.gpu.tier.f16 ? (await fmaCeiling(engine, true)).gflops : null;
  return {
    fmaGflops: fma.gflops,
    fmaKernel: fma.kernel,
    halfFmaGflops: half,
    copyGBs: await copyCeiling(engine),
  };
}
