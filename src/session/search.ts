/** Runs the model in cubes for one step of a session: at the scales that `zoom.ts` asks for. */
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { CroppedMask } from '../imaging/crop.js';
import { cropField, sampleLogits } from '../imaging/paste-back.js';
import type { Preset } from '../imaging/presets.js';
import type { Image, Vec3 } from '../imaging/types.js';
import type { Decoded, Encoded, Model, Prompt } from '../sam/model.js';
import { calibratedIou } from '../weights/card.js';
import { corrected } from './correction.js';
import { clickedPart, cutFaces, maskPrompt } from './cubes.js';
import { EncodedCube, type Spent } from './encoded-cube.js';
import type { CallOptions } from './lesion-session.js';
import type { Click, RoiPlace } from './lesion-state.js';
import {
  choose,
  type Finding,
  type Limits,
  nextSpacing,
  reasonOf,
  type Zoom,
  type ZoomReport,
} from './zoom.js';

/** The model's answer in a cube, and the lesion's logits there: the answer's, or what a correction makes of them. */
export interface Pass {
  readonly cube: EncodedCube;
  readonly encoded: Encoded;
  readonly decoded: Decoded;
  readonly logits: Float32Array;
}

/** The IoU that is estimated of a mask: by the weights' calibration, or by the head. */
const estimateOf = ({ card }: Model, [head]: Decoded['iou'], probability: number): number =>
  card.calibration ? calibratedIou(card.calibration, probability) : head;

/** What a step found: the cube that was taken, and why. */
export interface Found {
  readonly pass: Pass;
  /** Its mask. */
  readonly crop: CroppedMask;
  /** The IoU that is estimated of it. */
  readonly iou: number;
  readonly zoom: ZoomReport;
}

/** Where a step begins. */
export interface Start {
  readonly cube: EncodedCube;
  /** The mask prompt there. */
  readonly mask: Float32Array;
  readonly clicks: readonly Click[];
  /** Whether the cube is the one of the step before. */
  readonly kept: boolean;
  /** Scales to look at, the cube's own among them: for a lesion of which clicks alone are known. */
  readonly rungs: readonly number[];
  /** Scales that may be tried, if any but the first are. */
  readonly limits: Limits;
  /** Where clicks are to be obeyed: the logits of what they correct in a cube, which may be the decoder's answer itself. */
  readonly before?: ((roi: RoiPlace, answer: Float32Array) => Float32Array) | undefined;
}

interface Candidate {
  readonly pass: Pass;
  readonly iou: number;
  readonly crop: CroppedMask;
  readonly finding: Finding;
}

/** One step's work on the device. */
export class Search {
  constructor(
    private readonly model: Model,
    private readonly image: Image,
    private readonly preset: Preset,
    private readonly gates: readonly GateSetting[] | undefined,
    private readonly options: CallOptions,
    readonly spent: Spent,
    /** The first click that says lesion, if there is one. */
    private readonly reference: Vec3 | undefined,
  ) {}

  /** @throws as `preprocess` */
  private cubeAt(centre: Vec3, spacing: number): EncodedCube {
    const { image, model, spent, reference } = this;
    const preset = { ...this.preset, spacing };
    return new EncodedCube(image, { centre, preset, reference }, model.config.volume, spent);
  }

  /** The same, or undefined where the cube has nothing to normalise by: air, or a single value. */
  private cubeIf(centre: Vec3, spacing: number): EncodedCube | undefined {
    try {
      return this.cubeAt(centre, spacing);
    } catch (error) {
      if (error instanceof SgpSamError && error.code === 'bad-prompt') return undefined;
      throw error;
    }
  }

  /**
   * The cube around a point at the first of these scales (mm) that has something to normalise by.
   * @throws as `preprocess`, of the first, where none has
   */
  firstCube(centre: Vec3, spacings: readonly [number, ...number[]]): EncodedCube {
    for (const spacing of spacings) {
      const cube = this.cubeIf(centre, spacing);
      if (cube) return cube;
    }
    return this.cubeAt(centre, spacings[0]);
  }

  private async run(cube: EncodedCube, { clicks, before }: Start, mask: Float32Array): Promise<Pass> {
    const { model, spent, gates } = this;
    const { signal, progress } = this.options;
    const prompt: Prompt = { points: clicks.map((one) => cube.point(one)), mask, masks: 1 };
    const answer = await cube.run(model, prompt, { gates, signal, progress }, spent);
    const begin = performance.now();
    const { logits } = answer.decoded;
    const made = before ? corrected(cube.roi, logits, before(cube.roi, logits), clicks) : logits;
    spent.pasteBack += performance.now() - begin;
    return { cube, ...answer, logits: made };
  }

  private async candidate(cube: EncodedCube, start: Start, mask: Float32Array): Promise<Candidate> {
    const pass = await this.run(cube, start, mask);
    const { logits, decoded } = pass;
    const inside = start.clicks.filter(({ label }) => label === 1).map(({ at }) => at);
    const begin = performance.now();
    const crop = cropField(this.image.dims, sampleLogits(cube.roi, logits, 'positive'));
    this.spent.pasteBack += performance.now() - begin;
    const part = clickedPart(cube.roi, logits, inside);
    const estimate = estimateOf(this.model, decoded.iou, part.probability);
    return {
      pass,
      iou: estimate,
      crop,
      finding: {
        spacing: cube.spacing,
        extent: part.extent,
        holdsClick: part.holdsClicks,
        cut: cutFaces(cube.roi, part.mask).length > 0,
        iou: this.model.card.estimatesIou ? estimate : undefined,
        probability: part.probability,
      },
    };
  }

  /** The lesion of some clicks, at the scale that suits it. */
  async find(setting: Zoom, start: Start): Promise<Found> {
    const { model } = this;
    const { clicks, kept } = start;
    const all = [await this.candidate(start.cube, start, start.mask)];
    const { centre } = start.cube.place;
    let { rungs } = start;
    while (setting === 'auto') {
      const findings = all.map(({ finding }) => finding);
      const spacing = nextSpacing(findings, rungs, start.limits);
      if (spacing === undefined) break;
      const cube = this.cubeIf(centre, spacing);
      if (!cube && rungs.includes(spacing)) {
        // A single value there: the other scales may still have something.
        rungs = rungs.filter((rung) => rung !== spacing);
        continue;
      }
      if (!cube || !clicks.every(({ at }) => cube.holds(at))) break;
      // Scales that are compared see the click alone; a larger cube for a lesion that is known sees what is known.
      const prompt =
        start.rungs.length === 0
          ? maskPrompt(cube.roi, all[choose(findings)].crop, model.lowResolution)
          : model.emptyMask();
      all.push(await this.candidate(cube, start, prompt));
    }
    const tried = all.map(({ finding }) => finding);
    const taken = choose(tried);
    const { pass, crop, iou } = all[taken];
    return {
      pass,
      crop,
      iou,
      zoom: {
        setting,
        spacing: pass.cube.spacing,
        tried,
        why: reasonOf(setting, tried, taken, kept),
      },
    };
  }
}
