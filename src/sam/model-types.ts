/** What a model is asked, and what it tells. */
import type { Progress } from '../base/errors.js';
import type { GateSetting, RegionMode, RegionReport } from '../engine/graph/regions.js';
import type { WeightStorage } from '../engine/kernels/rules.js';
import type { GateKind, ModelConfig } from './config.js';

/** How a model is loaded and runs. */
export interface ModelOptions {
  /** What the weights are; inferred from their shapes if not given. */
  readonly config?: ModelConfig | undefined;
  /** How closed gates are skipped; `predicated` unless given. */
  readonly regionMode?: RegionMode | undefined;
  /** Splits long runs into submits of about this many milliseconds, so that a host stays responsive. */
  readonly budgetMs?: number | undefined;
  /**
   * How `load` holds weight matrices: `f16` halves their memory, and rounds each to 11 bits; `f32` and `texture` give the same
   * results. Unless given, `texture` on CPU adapters with subgroups of 8 and more, else `f32`.
   */
  readonly weightStorage?: WeightStorage | undefined;
  /** Kernel family → variant, to overrule the planner. */
  readonly variants?: Readonly<Record<string, string>>;
  /** Has kernels compiled in the background: those that drivers compile when they are first run, and the decoder for more points. */
  readonly ahead?: boolean | undefined;
  /** Encoder stages to keep readable (`read`), by the checkpoint's module names. */
  readonly trace?: Iterable<string> | 'all';
  /** Told of weights as they load, of pipelines as they compile, and of an encode that `budgetMs` splits. */
  readonly progress?: Progress | undefined;
  /** Looked at between tensors, before runs, and between the submits that `budgetMs` makes. */
  readonly signal?: AbortSignal | undefined;
  /** In their places for loading alone; encodes and decodes have their own. */
  readonly load?: WorkOptions | undefined;
}

/** Of one encode or decode, beside the model's own options. */
export interface WorkOptions {
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EncodeOptions extends WorkOptions {
  /** Overrules the gates of the SGPMs, one after the other (`auto` where there are fewer), as `Model.setGate`. */
  readonly gates?: readonly GateSetting[] | undefined;
}

export interface DecodeOptions extends WorkOptions {
  /** Decoder stages to return as well, by the checkpoint's module names. */
  readonly trace?: Iterable<string> | 'all';
  /** Fail unless the embedding is that encode's. */
  readonly token?: number;
}

/** One SGPM's decision and work in an encode. */
export interface GateReport extends RegionReport {
  /** The encoder block it follows. */
  readonly block: number;
  /** What its gates are for; `openChannels` and `channels` count them. */
  readonly kind: GateKind;
  /** Gate logits z, (B, gates). */
  readonly logits: Float32Array;
}

/** What an encode tells; the embedding itself stays on the device. */
export interface Encoded {
  readonly gates: readonly GateReport[];
  readonly token: number;
}

/** Masks of one decode. Shapes with g, patches along an edge, and S, voxels along an edge of the cube. */
export interface Decoded {
  /** Logits of the masks that were asked for at four times the patch grid's resolution: (4, 4g, 4g, 4g) or (1, …). */
  readonly masks: Float32Array;
  /** Estimated IoU of all four. */
  readonly iou: Float32Array;
  /** The first mask's logits at the volume's resolution, S³. */
  readonly logits: Float32Array;
  /** Everything the decoder was asked to trace, by the checkpoint's module names, and the above. */
  readonly stages: ReadonlyMap<string, Float32Array>;
}
