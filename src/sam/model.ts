/** A model on a device: weights loaded, encoder compiled; encode once, decode per click. */
import { SgpSamError } from '../base/errors.js';
import { findBeyond } from '../base/half.js';
import { Queue } from '../base/queue.js';
import type { BufferSlice, Engine, Submitted } from '../engine/gpu/engine.js';
import type { Graph } from '../engine/graph/graph.js';
import { ParameterStore } from '../engine/graph/parameters.js';
import { type Plan, planGraph } from '../engine/graph/plan.js';
import { type ParameterLookup, Program } from '../engine/graph/program.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { type Capabilities, capabilitiesOf } from '../engine/kernels/capabilities.js';
import { usualWeights } from '../engine/kernels/rules.js';
import { cardOf, plainCard, type WeightsCard } from '../weights/card.js';
import { checkTensors, saneReader } from '../weights/check.js';
import type { WeightSource } from '../weights/weight-source.js';
import { checkConfig, gateKindOf, gridOf, type ModelConfig } from './config.js';
import { Decoders, type Prompt } from './decoders.js';
import { inferConfig } from './infer.js';
import { firstInsane, insane } from './insane.js';
import type {
  Decoded,
  DecodeOptions,
  Encoded,
  EncodeOptions,
  ModelOptions,
  WorkOptions,
} from './model-types.js';
import { modelParameters } from './parameters.js';
import { encoderGraph, SANE } from './sam-med3d.js';
import { gateName } from './sgpm.js';

export type { Prompt, PromptPoint } from './decoders.js';
export type * from './model-types.js';

/** Work on its way: what is to be read of it, and what that comes to. */
interface Pending<R> {
  readonly submitted: Submitted;
  readonly slices: readonly BufferSlice[];
  readonly finish: (bytes: readonly ArrayBuffer[]) => R | Promise<R>;
}

/** The network on a device: an encode of a cube, and decodes of prompts on it. Calls are taken in turn. */
export class Model {
  private readonly decoders: Decoders;
  /** Which encode the embedding on the device is of; 0 before the first and after one that failed. */
  private current = 0;
  private encodes = 0;
  private readonly settings: GateSetting[] = [];
  /** Encodes and decodes share buffers, so one is through before the next begins. */
  private readonly working = new Queue();
  private readying: Promise<void> | undefined;
  /** What people wait for meanwhile that is no work of the model's. */
  private readonly before = new Set<Promise<unknown>>();
  /**
   * Milliseconds until the weights were on the device, and from then until the encoder was compiled, which begins at the
   * same time. Zero for a model on somebody else's parameters.
   */
  loadTimes: { readonly weights: number; readonly compile: number } = { weights: 0, compile: 0 };
  /** What the weights say of their use. */
  card: WeightsCard = plainCard;

  private constructor(
    readonly engine: Engine,
    readonly config: ModelConfig,
    private readonly lookup: ParameterLookup,
    /** The parameters again, if they are this model's own to dispose of. */
    private readonly owned: ParameterStore | undefined,
    private readonly encoder: Program,
    private readonly capabilities: Capabilities,
    private readonly options: ModelOptions,
  ) {
    this.decoders = new Decoders(engine, config, lookup, encoder.output('embedding'), capabilities);
  }

  /**
   * Loads weights and compiles the encoder, both at once.
   * @throws SgpSamError `bad-weights` listing what is missing, left over or misshaped; `non-finite` naming a parameter that
   *   is NaN, infinite or beyond reason; `adapter-limit`
   */
  static async load(engine: Engine, weights: WeightSource, options: ModelOptions = {}): Promise<Model> {
    const config = options.config ?? inferConfig(weights.tensors, weights.metadata, weights.name);
    checkConfig(config);
    const card = cardOf(weights);
    const specs = modelParameters(config);
    checkTensors(weights, new Map(specs.map((spec) => [spec.name, spec.shape])));
    const { progress, signal } = options.load ?? options;
    const begun = performance.now();
    // Side by side: weights come from a disk or network, pipelines from the driver. A pipeline that fails is told of below.
    const graph = encoderGraph(config, { trace: options.trace ?? [] });
    const usual = capabilitiesOf(engine, options.variants);
    const storage = options.weightStorage ?? usualWeights(usual);
    const plan = planGraph(graph, { ...usual, weights: storage });
    let compiled: { done: number; total: number } | undefined;
    let arrived: number | undefined;
    const warming = Program.warm(engine, plan, (done, total) => {
      compiled = { done, total };
      // One stage after the other: `weights` first.
      if (arrived !== undefined) progress?.({ stage: 'compile', done, total });
    }).catch(() => {});
    const parameters = await ParameterStore.load(engine, specs, saneReader(weights), {
      progress,
      signal,
      storage,
    });
    arrived = performance.now() - begun;
    if (compiled) progress?.({ stage: 'compile', ...compiled });
    try {
      await warming;
      const model = await Model.compile(engine, config, parameters, parameters, options, { graph, plan });
      model.card = card;
      model.loadTimes = { weights: arrived, compile: performance.now() - begun - arrived };
      return model;
    } catch (error) {
      parameters.dispose();
      throw error;
    }
  }

  /**
   * A model on parameters that are on the device already and stay somebody else's: those being trained.
   * @throws SgpSamError `adapter-limit`
   */
  static over(
    engine: Engine,
    config: ModelConfig,
    parameters: ParameterLookup,
    options: ModelOptions = {},
  ): Promise<Model> {
    return Model.compile(engine, config, parameters, undefined, options);
  }

  private static async compile(
    engine: Engine,
    config: ModelConfig,
    parameters: ParameterLookup,
    owned: ParameterStore | undefined,
    options: ModelOptions,
    planned?: { readonly graph: Graph; readonly plan: Plan },
  ): Promise<Model> {
    const capabilities = capabilitiesOf(engine, options.variants);
    const { graph, plan } = planned ?? { graph: encoderGraph(config, { trace: options.trace ?? [] }) };
    const encoder = await Program.compile(engine, graph, {
      parameters,
      capabilities,
      ...(plan ? { plan } : {}),
      label: 'image encoder',
    });
    return new Model(engine, config, parameters, owned, encoder, capabilities, options);
  }

  /**
   * The model's own parameters.
   * @throws SgpSamError `bad-argument` for a model on somebody else's
   */
  get parameters(): ParameterStore {
    if (this.owned) return this.owned;
    throw new SgpSamError('bad-argument', 'the parameters of this model are not its own');
  }

  /** The image encoder's program, for profiling: its input is `image`. What else is run on it ends the last encode. */
  get encoderProgram(): Program {
    this.current = 0;
    return this.encoder;
  }

  /** The decoder of a prompt, compiled if it is not yet, with the prompt written: to have it ready, and for profiling. */
  decoderProgram(prompt: Prompt): Promise<Program> {
    return this.working.run(() => this.decoderOf(prompt));
  }

  private async decoderOf(prompt: Prompt, trace: Iterable<string> | 'all' = []): Promise<Program> {
    const program = await this.decoders.prepare(prompt, trace);
    if (this.options.ahead) this.readying ??= this.getReady(program, prompt);
    return program;
  }

  /** What the first clicks and later ones need, while nobody waits. Whatever fails fails again where it is needed, and is told there. */
  private async getReady(decoder: Program, prompt: Prompt): Promise<void> {
    const quiet = () => this.quiet();
    try {
      // What it holds is nobody's yet.
      await this.encoder.rehearse(async () => (await quiet()) && this.current === 0);
      await decoder.rehearse(quiet);
      await this.decoders.ahead(prompt, quiet, (work) => this.working.run(work));
    } catch {
    } finally {
      this.readying = undefined;
    }
  }

  /** Holds back what is compiled in the background until this is over: somebody waits for it, and it shares the processor. */
  putFirst<R>(work: Promise<R>): Promise<R> {
    const over: Promise<unknown> = work.catch(() => {}).finally(() => this.before.delete(over));
    this.before.add(over);
    return work;
  }

  /** Resolves (true) when nothing is asked of the model, nor of what was put first. */
  private async quiet(): Promise<true> {
    do {
      await Promise.all(this.before);
      await this.working.quiet();
    } while (this.before.size > 0);
    return true;
  }

  /** The encoder blocks that an SGPM follows. */
  get sites(): readonly number[] {
    return this.config.sgpm?.sites ?? [];
  }

  /** Multiply-adds (counted as two) of one encode with every gate open. */
  get encoderFlops(): number {
    return this.encoder.plan.flops;
  }

  /** Edge of the low-resolution masks. */
  get lowResolution(): number {
    return 4 * gridOf(this.config);
  }

  private runOptions({ signal }: WorkOptions) {
    const { regionMode, budgetMs, signal: always } = this.options;
    return {
      ...(regionMode ? { mode: regionMode } : {}),
      ...(budgetMs ? { budgetMs } : {}),
      signal: signal && always ? AbortSignal.any([signal, always]) : (signal ?? always),
    };
  }

  /** Whether the embedding on the device is still the one that `encode` returned this token for. */
  holds(token: number): boolean {
    return token !== 0 && token === this.current;
  }

  /**
   * Computes the image embedding of S³ normalised values (SPEC A0's cube). The device holds one embedding: the next
   * encode replaces it.
   * @returns what each gate decided, and a token for `holds` and `decode`
   * @throws SgpSamError `non-finite` naming the first stage that has NaN, Inf or a value beyond reason (SANE)
   */
  encode(image: Float32Array, options: EncodeOptions = {}): Promise<Encoded> {
    return this.working.run(async () => {
      const encoding = await this.beginEncode(image, options);
      const bytes = await this.engine.readAll(encoding.slices, [encoding.submitted]);
      return encoding.finish(bytes);
    });
  }

  private async beginEncode(image: Float32Array, options: EncodeOptions): Promise<Pending<Encoded>> {
    const { encoder, sites } = this;
    const progress = options.progress ?? this.options.progress;
    const { gates: settings } = options;
    this.current = 0;
    for (const j of settings ? sites.keys() : []) this.setGate(j, settings?.[j] ?? 'auto');
    encoder.write('image', image);
    const submitted = await encoder.submit({
      ...this.runOptions(options),
      progress: progress && ((done, total) => progress({ stage: 'encode', done, total })),
    });
    const logits = sites.map((_, j) => encoder.output(`${gateName(j)}.logits`));
    return {
      submitted,
      slices: [encoder.output('embedding.nonfinite'), ...logits, ...encoder.regionSlices],
      finish: async ([nonfinite, ...rest]) => {
        const gates = encoder.reportsOf(rest.slice(sites.length)).map((report, j) => ({
          ...report,
          block: sites[j],
          kind: gateKindOf(this.config),
          logits: new Float32Array(rest[j]),
        }));
        // A z that is NaN closes its gate, and the embedding then knows nothing of it.
        const insane = gates.some(({ logits }) => findBeyond(logits, SANE) >= 0);
        if (insane || new Uint32Array(nonfinite)[0] > 0) throw await this.insaneEncode(image);
        this.current = ++this.encodes;
        return { gates, token: this.current };
      },
    };
  }

  /** The error for an encode that went wrong, made by doing it again with every stage kept: only then is that worth its memory. */
  private async insaneEncode(image: Float32Array): Promise<SgpSamError> {
    const graph = encoderGraph(this.config, { trace: 'all' });
    const { lookup: parameters, capabilities } = this;
    let traced: Program;
    try {
      traced = await Program.compile(this.engine, graph, { parameters, capabilities, label: 'trace' });
    } catch (error) {
      if (this.engine.gpu.isLost) throw error;
      return insane('a stage in between'); // no room for all of them at once
    }
    try {
      for (const [site, gate] of this.gates.entries()) traced.setGate(gateName(site), gate);
      traced.write('image', image);
      await traced.run(this.runOptions({}));
      return await firstInsane(traced);
    } finally {
      traced.dispose();
    }
  }

  /** How each SGPM's gate is overruled. */
  get gates(): readonly GateSetting[] {
    return this.sites.map((_, site) => this.settings[site] ?? 'auto');
  }

  /** Overrules SGPM `site`'s gate from the next encode on. */
  setGate(site: number, setting: GateSetting): void {
    this.settings[site] = setting;
    this.encoder.setGate(gateName(site), setting);
  }

  /** A traced stage of the last encode. */
  read(name: string): Promise<Float32Array> {
    return this.encoder.read(name);
  }

  /**
   * Masks for the encoded volume (batch 1).
   * With no box given, SAM appends a not-a-point to the points; without points and with a mask there is none.
   * @throws SgpSamError `bad-argument` when no volume is encoded; `non-finite` as `encode`
   */
  decode(prompt: Prompt, options: DecodeOptions = {}): Promise<Decoded> {
    return this.working.run(async () => {
      if (!this.holds(options.token ?? this.current)) {
        const why = this.current === 0 ? 'no volume is encoded' : 'another volume was encoded since';
        throw new SgpSamError('bad-argument', `decode: ${why}`, 'Encode the volume first.');
      }
      const decoding = await this.beginDecode(prompt, options);
      const bytes = await this.engine.readAll(decoding.slices, [decoding.submitted]);
      return decoding.finish(bytes);
    });
  }

  /**
   * `encode` and `decode` with one wait for both.
   * @returns what they do, and when the encode was done, ms from the call's turn
   * @throws as they do: what went wrong in the encode is told first
   */
  encodeAndDecode(
    image: Float32Array,
    prompt: Prompt,
    options: EncodeOptions = {},
  ): Promise<{ encoded: Encoded; decoded: Decoded; encodeMs: number }> {
    return this.working.run(async () => {
      const { engine } = this;
      const begun = performance.now();
      const encoding = await this.beginEncode(image, options);
      const done = engine.done();
      done.catch(() => {}); // the read fails, too
      const decoding = await this.beginDecode(prompt, options);
      const bytes = await engine.readAll(
        [...encoding.slices, ...decoding.slices],
        [encoding.submitted, decoding.submitted],
      );
      // Has come while both were waited for.
      const encodeMs = (await done) - begun;
      const encoded = await encoding.finish(bytes.slice(0, encoding.slices.length));
      const decoded = await decoding.finish(bytes.slice(encoding.slices.length));
      return { encoded, decoded, encodeMs };
    });
  }

  private async beginDecode(prompt: Prompt, options: DecodeOptions): Promise<Pending<Decoded>> {
    const program = await this.decoderOf(prompt, options.trace);
    const submitted = await program.submit(this.runOptions(options));
    const names = program.outputs;
    return {
      submitted,
      slices: names.map((name) => program.output(name)),
      finish: async (bytes) => {
        const stages = new Map(names.map((name, i) => [name, new Float32Array(bytes[i])]));
        const [masks, iou, logits] = ['masks', 'iou_pred', 'upsampled_logits'].map(
          (name) => stages.get(name) as Float32Array,
        );
        if (findBeyond(masks, SANE) >= 0 || findBeyond(iou, SANE) >= 0) {
          const traced = await this.decoders.prepare(prompt, 'all');
          await traced.run();
          throw await firstInsane(traced);
        }
        return { masks, iou, logits, stages };
      },
    };
  }

  /** The first of a decode's masks, as the mask prompt of the next. */
  firstMask(decoded: Decoded): Float32Array {
    return decoded.masks.slice(0, this.lowResolution ** 3);
  }

  /** The mask prompt of a first click: zeros, as SAM-Med3D's own inference passes (SPEC A2). */
  emptyMask(): Float32Array {
    return new Float32Array(this.lowResolution ** 3);
  }

  /** Frees programs, and parameters where they are this model's own. Later calls are errors. */
  dispose(): void {
    this.decoders.dispose();
    this.encoder.dispose();
    this.owned?.dispose();
  }
}
