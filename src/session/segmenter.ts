/** From a volume and clicks to a mask on the volume's own grid (SPEC A0, there and back). */
import { SgpSamError } from '../errors.js';
import { requireInside } from '../volumes/clicks.js';
import { type PastedMask, pasteBack } from '../volumes/paste-back.js';
import { preprocess, type Roi } from '../volumes/preprocess.js';
import type { Preset, PresetName } from '../volumes/presets.js';
import { clickInRoi } from '../volumes/roi-frame.js';
import type { Image, Vec3 } from '../volumes/types.js';
import type { Decoded, Encoded, GateReport, Model, PromptPoint } from './model.js';

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
  /** Estimated IoU of the mask; not clamped to 0…1, since the head has no sigmoid. */
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
  private encoded: Encoded | undefined;
  private adding: Promise<unknown> = Promise.resolve();
  private last: Decoded | undefined;

  constructor(
    private readonly model: Model,
    private readonly volume: Image,
    private readonly options: { readonly preset?: PresetName | Preset | (string & {}) | undefined } = {},
  ) {}

  /**
   * Adds a click and segments anew. Clicks are taken in turn; one that fails leaves the session as it was. A model that
   * another session has used since encodes this one's region again.
   * @throws SgpSamError `bad-prompt` for a click outside the volume or, after the first, outside its cube
   */
  addClick(click: Click, options: { probabilities?: boolean } = {}): Promise<Segmentation> {
    const result = this.adding.then(() => this.addNow(click, options));
    this.adding = result.catch(() => {});
    return result;
  }

  private async addNow(click: Click, options: { probabilities?: boolean }): Promise<Segmentation> {
    requireInside(this.volume, click.at);
    if (this.clicks.length === 0) requireLesion(click);
    const { model } = this;
    const begin = performance.now();
    const { preset } = this.options;
    const roi = this.roi ?? preprocess(this.volume, click.at, { size: model.config.volume, preset });
    const points = [...this.clicks, click].map(
      ({ at, label }): PromptPoint => ({ at: clickInRoi(roi, at).voxel, label }),
    );
    const encodeBegin = performance.now();
    const encoded =
      this.encoded && model.holds(this.encoded.token) ? this.encoded : await model.encode(roi.values);
    const decodeBegin = performance.now();
    const mask = this.last ? model.firstMask(this.last) : model.emptyMask();
    const decoded = await model.decode({ points, mask }, { token: encoded.token });
    const pasteBegin = performance.now();
    const pasted = pasteBack(roi, decoded.logits, { probabilities: options.probabilities ?? false });
    const again = this.encoded === encoded;
    // Only now: nothing failed.
    this.clicks.push(click);
    this.roi = roi;
    this.encoded = encoded;
    this.last = decoded;
    return {
      ...pasted,
      iou: decoded.iou[0],
      gates: encoded.gates,
      roi,
      timings: {
        preprocess: again ? 0 : encodeBegin - begin,
        encode: again ? 0 : decodeBegin - encodeBegin,
        decode: pasteBegin - decodeBegin,
        pasteBack: performance.now() - pasteBegin,
      },
    };
  }
}

/** @throws SgpSamError `bad-prompt` for a first click that says where the lesion is not */
export function requireLesion(first: Click): void {
  if (first.label === 1) return;
  throw new SgpSamError(
    'bad-prompt',
    'the first click is labelled 0 (not lesion), but it says where the lesion is',
    'Click inside the lesion first; exclude with label 0 afterwards.',
  );
}
