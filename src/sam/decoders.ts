/** A model's decoders: each serves a range of numbers of points, with the bits of one made for the exact number. */
import { SgpSamError } from '../base/errors.js';
import type { BufferSlice, Engine } from '../engine/gpu/engine.js';
import type { Graph } from '../engine/graph/graph.js';
import { distinctShaders, type Plan, planGraph } from '../engine/graph/plan.js';
import { type ParameterLookup, Program } from '../engine/graph/program.js';
import type { Capabilities } from '../engine/kernels/capabilities.js';
import type { ModelConfig } from './config.js';
import { MASK_TOKENS } from './parameters.js';
import { decoderGraph, TOKENS } from './sam-med3d.js';

/** A point in the model's volume, in voxels of its cube; label 1 lesion, 0 not, −1 no point. */
export interface PromptPoint {
  readonly at: readonly [number, number, number];
  readonly label: 1 | 0 | -1;
}

/** What a decode is asked: points in the model’s cube, and the mask of the decode before. */
export interface Prompt {
  readonly points: readonly PromptPoint[];
  /** Low-resolution logits (4g)³ of an earlier decode; null for `no_mask_embed`. */
  readonly mask: Float32Array | null;
  /** How many masks are computed, the first ones; all four unless given. Sessions use the first alone, as SAM-Med3D does. */
  readonly masks?: 1 | typeof MASK_TOKENS | undefined;
}

const CACHED_DECODERS = 8;
const LEARNT_TOKENS = 1 + MASK_TOKENS;
/**
 * Most tokens (IoU, masks, points) of the first ranges; later ones are 64 apart. They end where kernels change their tiles (8 and 16
 * queries, 32 and 64 rows): sums are then taken in the same order whatever of its range a decoder has to serve.
 */
const RANGES = [8, 16, 31];

/** Rows of points that the decoder for so many has, not-a-point included: none for none. */
export function decoderRows(rows: number): number {
  if (rows === 0) return 0;
  const tokens = LEARNT_TOKENS + rows;
  return (RANGES.find((most) => tokens <= most) ?? Math.ceil((tokens + 1) / 64) * 64 - 1) - LEARNT_TOKENS;
}

/** With no box given, SAM appends a not-a-point to the points; without points there is none. */
const rowsOf = ({ points }: Prompt): readonly PromptPoint[] =>
  points.length > 0 ? [...points, { at: [0, 0, 0], label: -1 }] : [];

interface Planned {
  readonly graph: Graph;
  readonly plan: Plan;
}

type Trace = Iterable<string> | 'all';

/** What a decoder is made for. */
interface Shape {
  /** Rows of points, not-a-point included. */
  readonly rows: number;
  readonly mask: boolean;
  readonly masks: number;
}

const shapeOf = ({ mask, masks = MASK_TOKENS }: Prompt, rows: number): Shape => ({
  rows,
  mask: mask !== null,
  masks,
});

export class Decoders {
  private readonly programs = new Map<string, Program>();
  /** Of decoders whose kernels were compiled before they are needed. */
  private readonly planned = new Map<string, Planned>();
  private readonly capabilities: Capabilities;
  private disposed = false;

  constructor(
    private readonly engine: Engine,
    private readonly config: ModelConfig,
    private readonly parameters: ParameterLookup,
    /** Of the encoder. */
    private readonly embedding: BufferSlice,
    capabilities: Capabilities,
  ) {
    this.capabilities = { ...capabilities, weights: parameters.storage ?? 'f32' };
  }

  /** The decoder that serves a prompt, compiled if it is not yet, with the prompt written. One that is traced has the exact number of points. */
  async prepare(prompt: Prompt, trace: Trace = []): Promise<Program> {
    const rows = rowsOf(prompt);
    const traced: readonly string[] | 'all' = trace === 'all' ? 'all' : [...trace];
    const exact = traced.length > 0;
    const size = exact ? rows.length : decoderRows(rows.length);
    const program = await this.program(shapeOf(prompt, size), traced);
    if (size > 0) {
      const padding = Array.from({ length: size - rows.length }, () => [0, 0, 0, -1]);
      program.write(
        'points',
        new Float32Array([...rows.map(({ at, label }) => [...at, label]), ...padding].flat()),
      );
      if (!exact) program.setKeys(TOKENS, LEARNT_TOKENS + rows.length);
    }
    if (prompt.mask) program.write('mask', prompt.mask);
    return program;
  }

  private plan({ rows, mask, masks }: Shape, trace: readonly string[] | 'all'): Planned {
    const counted = rows > 0 && trace.length === 0;
    const graph = decoderGraph(this.config, { points: rows, counted, mask, masks, upsample: true, trace });
    return { graph, plan: planGraph(graph, this.capabilities) };
  }

  private async program(shape: Shape, trace: readonly string[] | 'all'): Promise<Program> {
    const key = keyOf(shape, trace);
    let program = this.programs.get(key);
    if (program) {
      this.programs.delete(key); // and set again below: the least recently used goes first
    } else {
      const { graph, plan } = this.planned.get(key) ?? this.plan(shape, trace);
      program = await Program.compile(this.engine, graph, {
        parameters: this.parameters,
        externals: new Map([['embedding', this.embedding]]),
        plan,
        label: 'mask decoder',
      });
      this.planned.delete(key);
      if (this.disposed) {
        program.dispose();
        throw new SgpSamError('bad-argument', 'this model was disposed of');
      }
    }
    this.programs.set(key, program);
    for (const [oldest, old] of this.programs) {
      if (this.programs.size <= CACHED_DECODERS) break;
      this.programs.delete(oldest);
      old.dispose();
    }
    return program;
  }

  /**
   * Makes the decoder for more points once half of what the prompt's own serves are used, kernel after kernel, each when nothing
   * else is asked of the model: a click that comes meanwhile waits for one of them at most.
   * @param quiet resolves (true) when nothing is asked of the model
   * @param inTurn does what must not come between the steps of a click
   */
  async ahead(
    prompt: Prompt,
    quiet: () => Promise<true>,
    inTurn: (work: () => Promise<Program>) => Promise<Program>,
  ): Promise<void> {
    const own = decoderRows(rowsOf(prompt).length);
    if (2 * prompt.points.length < own - 1) return;
    const shape = shapeOf(prompt, decoderRows(own + 1));
    const key = keyOf(shape, []);
    if (this.planned.has(key) || this.programs.has(key)) return;
    const planned = this.plan(shape, []);
    this.planned.set(key, planned);
    for (const shader of distinctShaders(planned.plan)) {
      await quiet();
      if (this.disposed) return;
      await this.engine.pipelines.get(shader);
    }
    await quiet();
    if (this.disposed) return;
    const program = await inTurn(() => this.program(shape, []));
    await program.rehearse(quiet);
  }

  dispose(): void {
    this.disposed = true;
    for (const program of this.programs.values()) program.dispose();
    this.programs.clear();
    this.planned.clear();
  }
}

const keyOf = ({ rows, mask, masks }: Shape, trace: readonly string[] | 'all'): string =>
  `${rows} ${mask} ${masks} ${trace === 'all' ? trace : trace.join()}`;
