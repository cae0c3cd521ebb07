/** From a volume and clicks to a mask on the volume's own grid (SPEC A0, there and back). */
import { SgpSamError } from '../errors.js';
import { requireInside } from '../volumes/clicks.js';
import { type PastedMask, pasteBack } from '../volumes/paste-back.js';
import { preprocess, type Roi } from '../volumes/preprocess.js';
import type { Preset, PresetName } from '../volumes/presets.js';
import { clickInRoi } from '../volumes/roi-frame.js';
import type { Image, Vec3 } from '../volumes/types.js';
import type { Decoded, GateReport, Model, PromptPoint } from './model.js';

/** A click in the volume's voxels (file order, from 0, fractions allowed). */
export interface Click {
  readonly at: Vec3;
  /** 1: inside the lesion; 0: not. */
  readonly label: 0 | 1;
}

export interface Timings {
  readonly preprocess: number;
  readonly encode: number;
  readonly decode: number;
  readonly pasteBack: number;
}

export interface Segmentation extends PastedMask {
  /** Estimated IoU of the mask, clamped to nothing: the head has no sigmoid. */
  readonly iou: number;
  readonly gates: readonly GateReport[];
  readonly roi: Roi;
  /** Milliseconds; `encode` is 0 when the volume was encoded already. */
  readonly timings: Timings;
}

/**
 * Interactive segmentation of one lesion: the first click places the cube and encodes it, every click decodes
 * with all clicks so far and the previous low-resolution logits, as SAM-Med3D was trained to be used.
 */
export class LesionSession {
  private readonly clicks: Click[] = [];
  private roi: Roi | undefined;
  private gates: GateReport[] = [];
  private last: Decoded | undefined;

  constructor(
    private readonly model: Model,
    private readonly volume: Image,
    private readonly options: { readonly preset?: PresetName | Preset | (string & {}) | undefined } = {},
  ) {}

  private point({ at, label }: Click): PromptPoint {
    return { at: clickInRoi(this.roi as Roi, at).voxel, label };
  }

  /**
   * Adds a click and segments anew.
   * @throws SgpSamError `bad-prompt` for a click outside the volume or, after the first, outside its cube
   */
  async addClick(click: Click, options: { probabilities?: boolean } = {}): Promise<Segmentation> {
    requireInside(this.volume, click.at);
    if (this.clicks.length === 0 && click.label !== 1) {
      throw new SgpSamError(
        'bad-prompt',
        'the first click is labelled 0 (not lesion), but it says where the lesion is',
        'Click inside the lesion first; exclude with label 0 afterwards.',
      );
    }
    let preprocessMs = 0;
    let encodeMs = 0;
    if (!this.roi) {
      const begin = performance.now();
      const { preset } = this.options;
      this.roi = preprocess(this.volume, click.at, { size: this.model.config.volume, preset });
      const encodeBegin = performance.now();
      preprocessMs = encodeBegin - begin;
      this.gates = await this.model.encode(this.roi.values);
      encodeMs = performance.now() - encodeBegin;
    }
    const decodeBegin = performance.now();
    const points = [...this.clicks, click].map((c) => this.point(c));
    const mask = this.last ? this.model.firstMask(this.last) : this.model.emptyMask();
    const decoded = await this.model.decode({ points, mask });
    const pasteBegin = performance.now();
    const pasted = pasteBack(this.roi, decoded.logits, { probabilities: options.probabilities ?? false });
    // Only now: a click that failed leaves the session as it was.
    this.clicks.push(click);
    this.last = decoded;
    return {
      ...pasted,
      iou: decoded.iou[0],
      gates: this.gates,
      roi: this.roi,
      timings: {
        preprocess: preprocessMs,
        encode: encodeMs,
        decode: pasteBegin - decodeBegin,
        pasteBack: performance.now() - pasteBegin,
      },
    };
  }
}
