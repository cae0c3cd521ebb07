/** A kernel of the user's own against ours: right or wrong by float64, and how fast, in turn on one device. */
import { need, needFields } from '../../base/arguments.js';
import { checkAborted, SgpSamError } from '../../base/errors.js';
import { randomSource } from '../../base/random.js';
import type { Engine } from '../gpu/engine.js';
import { median } from '../gpu/pass-timer.js';
import { Graph } from '../graph/graph.js';
import { ParameterStore } from '../graph/parameters.js';
import { Program } from '../graph/program.js';
import { type Capabilities, capabilitiesOf } from '../kernels/capabilities.js';
import { usualWeights, type WeightStorage } from '../kernels/rules.js';
import { linear } from '../ops/linear.js';
import { type MatmulVariantDefinition, registerMatmulVariant } from '../ops/matmul-variants.js';
import type { Ceilings } from './ceilings.js';

/** C (rows, n) = A (rows, k) · B (k, n). */
export interface ProductShape {
  readonly rows: number;
  readonly k: number;
  readonly n: number;
}

/** Float32 sums of the lengths that products have stay below it; the tolerance of parity with PyTorch. */
export const OWN_KERNEL_TOLERANCE = 2e-5;

/** One of the two kernels: how fast, and how right. */
export interface OwnKernelSide {
  readonly variant: string;
  /** Median over the runs, ms. */
  readonly ms: number;
  readonly samples: readonly number[];
  readonly gflops: number;
  /** Of what the device was measured to do at most: the nearer of multiply-adds and memory. */
  readonly ofCeiling: number;
  /** ‖C − C₆₄‖ / ‖C₆₄‖ over the rows looked at; NaN where the kernel gave one. */
  readonly error: number;
}

/** Both kernels on one product. */
export interface OwnKernelReport {
  readonly shape: ProductShape;
  readonly weights: WeightStorage;
  readonly own: OwnKernelSide;
  readonly ours: OwnKernelSide;
  /** Median of the pairs' ratios: how many times as fast as ours. */
  readonly speedup: number;
  /** Rows that were computed in float64: all of them, or evenly spread ones of a large product. */
  readonly rowsChecked: number;
}

/** How they are compared. */
export interface OwnKernelOptions {
  /** Timed runs of each, in turn; default 15. */
  readonly runs?: number;
  readonly ceilings: Ceilings;
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Multiply-adds that are worth a few seconds of float64. */
const MOST_CHECKED = 2 ** 29;

/** Rows of the product in float64, as many as there is time for. */
function reference(a: Float32Array, b: Float32Array, { rows, k, n }: ProductShape) {
  const count = Math.max(1, Math.min(rows, Math.floor(MOST_CHECKED / (k * n))));
  const picked = Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count));
  const values = picked.map((row) => {
    const sums = new Float64Array(n);
    // b is (n, k), PyTorch's layout.
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (a[row * k + i] as number) * (b[j * k + i] as number);
      sums[j] = sum;
    }
    return sums;
  });
  return { picked, values };
}

function errorOf(c: Float32Array, n: number, { picked, values }: ReturnType<typeof reference>): number {
  let [difference, size] = [0, 0];
  picked.forEach((row, i) => {
    const want = values[i] as Float64Array;
    for (let j = 0; j < n; j++) {
      difference += ((c[row * n + j] as number) - (want[j] as number)) ** 2;
      size += (want[j] as number) ** 2;
    }
  });
  return Math.sqrt(difference / size);
}

/**
 * Checks a variant of the matmul family and times it beside the one that the rules or the tuned table choose.
 * @throws SgpSamError `bad-argument` where it does not serve the shape; `bad-shader` with the compiler's messages
 */
export async function compareOwnKernel(
  engine: Engine,
  definition: MatmulVariantDefinition,
  shape: ProductShape,
  options: OwnKernelOptions,
): Promise<OwnKernelReport> {
  needFields('engine', engine, 'gpu', 'device');
  need('compareOwnKernel: definition', definition, 'an object');
  needFields('compareOwnKernel: options', options, 'ceilings');
  const { runs = 15, ceilings, progress, signal } = options;
  const { rows, k, n } = shape;
  for (const [name, value] of Object.entries(shape))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new SgpSamError('bad-argument', `${name} is ${value}, not a positive whole number`);
  const random = randomSource(1);
  const draw = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);
  const [a, b] = [draw(rows * k), draw(n * k)];
  const unregister = registerMatmulVariant(definition);
  const owned: { dispose(): void }[] = [];
  try {
    const caps = capabilitiesOf(engine);
    const weights = usualWeights(caps);
    const spec = { name: 'w', shape: [n, k], layout: 'linear' } as const;
    const store = await ParameterStore.load(engine, [spec], async () => b, { storage: weights });
    owned.push(store);
    const compile = async (capabilities: Capabilities): Promise<Program> => {
      const g = new Graph();
      g.output('c', linear(g.input('a', [rows, k]), g.param(spec)));
      const program = await Program.compile(engine, g, {
        parameters: store,
        capabilities,
        label: 'own kernel',
      });
      owned.push(program);
      program.write('a', a);
      return program;
    };
    const own = await compile({ ...caps, force: { matmul: definition.name } });
    if (own.dispatches[0]?.variant !== definition.name)
      throw new SgpSamError(
        'bad-argument',
        `'${definition.name}' does not serve ${rows}×${k}×${n} on this device`,
      );
    const ours = await compile(caps);
    const sides = [own, ours].map((program) => ({ program, samples: [] as number[], error: Number.NaN }));
    const want = reference(a, b, shape);
    for (const side of sides) {
      await side.program.run();
      side.error = errorOf(await side.program.read('c'), n, want);
    }
    for (let run = 0; run < runs; run++) {
      checkAborted(signal);
      progress?.(run, runs);
      // Who goes first changes.
      for (const side of run % 2 === 0 ? sides : sides.toReversed()) {
        const { passes } = await side.program.profile({ runs: 1, signal });
        side.samples.push(Math.min(...(passes[0]?.samples ?? [Number.NaN])));
      }
    }
    progress?.(runs, runs);
    const [mine, theirs] = sides.map(({ program, samples, error }): OwnKernelSide => {
      const ms = median(samples);
      const [call] = program.dispatches;
      const { flops, bytes } = call?.cost ?? { flops: 0, bytes: 0 };
      const gflops = flops / 1e6 / ms;
      const ofCeiling = Math.max(gflops / ceilings.fmaGflops, bytes / 1e6 / ms / ceilings.copyGBs);
      return { variant: call?.variant ?? '', ms, samples, gflops, ofCeiling, error };
    }) as [OwnKernelSide, OwnKernelSide];
    const speedup = median(theirs.samples.map((ms, i) => ms / (mine.samples[i] as number)));
    return { shape, weights, own: mine, ours: theirs, speedup, rowsChecked: want.picked.length };
  } finally {
    for (const one of owned) one.dispose();
    unregister();
  }
}
