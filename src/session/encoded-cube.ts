/** A cube in the volume, and what the device still holds of it. */
import { preprocess, type Roi } from '../imaging/preprocess.js';
import { clickInRoi, findInRoi } from '../imaging/roi-frame.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Decoded, Encoded, EncodeOptions, Model, Prompt, PromptPoint } from '../sam/model.js';
import type { Placement } from './cubes.js';
import type { Click, RoiPlace, Timings } from './lesion-state.js';

/** What a step has cost so far. */
export type Spent = { -readonly [K in keyof Timings]: number } & { encodes: number };

export class EncodedCube {
  readonly roi: RoiPlace;
  /** The cube's values until they are encoded; made again should they be needed again. */
  private values: Float32Array | undefined;
  private encoded: { readonly by: Model; readonly gates: string; readonly what: Encoded } | undefined;

  /** @throws as `preprocess` */
  constructor(
    private readonly image: Image,
    readonly place: Placement,
    size: number,
    spent: Spent,
  ) {
    const begin = performance.now();
    const { values, ...roi } = this.cut(size);
    this.roi = roi;
    this.values = values;
    spent.preprocess += performance.now() - begin;
  }

  /** Edge of its voxels, mm. */
  get spacing(): number {
    return this.place.preset.spacing;
  }

  /** Whether a click (source voxels) falls into the cube. */
  holds(at: Vec3): boolean {
    return findInRoi(this.roi, at) !== undefined;
  }

  /** @throws SgpSamError `bad-prompt` for a click outside the cube */
  point({ at, label }: Click): PromptPoint {
    return { at: clickInRoi(this.roi, at).voxel, label };
  }

  private cut(size: number): Roi {
    const { centre, preset, reference } = this.place;
    return preprocess(this.image, centre, { size, preset, reference });
  }

  /** The model's answer here: of the embedding on the device, if that is this cube's with the same gates, or of one made now. */
  async run(
    model: Model,
    prompt: Prompt,
    options: EncodeOptions,
    spent: Spent,
  ): Promise<{ encoded: Encoded; decoded: Decoded }> {
    const gates = options.gates?.join() ?? '';
    const { encoded: held } = this;
    const begin = performance.now();
    if (held && held.by === model && held.gates === gates && model.holds(held.what.token)) {
      const { signal } = options;
      const decoded = await model.decode(prompt, { token: held.what.token, signal });
      spent.decode += performance.now() - begin;
      return { encoded: held.what, decoded };
    }
    const values = this.values ?? this.cut(model.config.volume).values;
    const middle = performance.now();
    const { encoded, decoded, encodeMs } = await model.encodeAndDecode(values, prompt, options);
    this.values = undefined;
    this.encoded = { by: model, gates, what: encoded };
    spent.preprocess += middle - begin;
    spent.encode += encodeMs;
    spent.decode += performance.now() - middle - encodeMs;
    spent.encodes++;
    return { encoded, decoded };
  }
}
