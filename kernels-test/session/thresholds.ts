/** A stand-in for a model that sees what is bright around its clicks: sessions without a device, right at any scale. */

import type { Image, Vec3 } from '../../src/imaging/types.js';
import type { Model, Prompt } from '../../src/sam/model.js';
import type { WeightsCard } from '../../src/weights/card.js';
import { volumeOf } from '../cli/support.js';

const SIZE = 48;
const LOW = 32;

export interface Threshold {
  readonly model: Model;
  /** The prompts it was given, in order. */
  readonly prompts: Prompt[];
}

/**
 * Lesion is what is brighter than halfway between a cube's least and most; all of a cube without two modes.
 * @param options.iou what it says of its mask, by the share of the cube that the mask fills
 * @param options.size edge of its cube
 * @param options.answer what it says instead of these logits, by the prompt
 */
export function thresholdModel({
  card,
  iou = () => 0.9,
  answer = (logits) => logits,
  size = SIZE,
}: {
  card?: Partial<WeightsCard>;
  iou?: (share: number) => number;
  size?: number;
  answer?: (logits: Float32Array<ArrayBuffer>, prompt: Prompt) => Float32Array<ArrayBuffer>;
} = {}): Threshold {
  const prompts: Prompt[] = [];
  let values = new Float32Array(size ** 3);
  let token = 0;
  const decode = async (prompt: Prompt) => {
    prompts.push(prompt);
    const least = values.reduce((a, b) => Math.min(a, b));
    const range = values.reduce((a, b) => Math.max(a, b)) - least;
    const middling = values.filter((v) => Math.abs((v - least) / range - 0.5) < 0.25).length / values.length;
    const above = middling > 0.2 ? 0 : 0.5;
    const own = values.map((v) => 8 * ((v - least) / range - above) + (above === 0 ? 1 : 0));
    const logits = answer(own, prompt);
    const share = logits.reduce((sum, v) => sum + Number(v > 0), 0) / logits.length;
    return {
      masks: new Float32Array(4 * LOW ** 3),
      iou: Float32Array.of(iou(share)),
      logits,
      stages: new Map(),
    };
  };
  const model = {
    config: { volume: size },
    card: { estimatesIou: true, zoom: 'off', scope: undefined, preset: undefined, ...card },
    lowResolution: LOW,
    gates: [],
    sites: [],
    setGate: () => {},
    holds: (asked: number) => asked === token,
    encodeAndDecode: async (given: Float32Array<ArrayBuffer>, prompt: Prompt) => {
      values = given;
      const encoded = { gates: [], token: ++token };
      return { encoded, decoded: await decode(prompt), encodeMs: 0 };
    },
    decode,
    firstMask: () => new Float32Array(LOW ** 3),
    emptyMask: () => new Float32Array(LOW ** 3),
  };
  return { model: model as unknown as Model, prompts };
}

/** A ball of `mm` across around `centre` (voxels), bright in a body of `tissue`, with a ripple so that nothing is constant. */
export function ballIn(
  dims: Vec3,
  spacing: Vec3,
  centre: Vec3,
  mm: number,
  { tissue = 100, lesion = 900 }: { tissue?: number; lesion?: number } = {},
): { image: Image; truth: Uint8Array } {
  const truth = new Uint8Array(dims[0] * dims[1] * dims[2]);
  const data = Float32Array.from(truth, (_, n) => {
    const voxel = [n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / (dims[0] * dims[1]))];
    const far = Math.hypot(...voxel.map((c, a) => (c - centre[a]) * spacing[a]));
    truth[n] = far <= mm / 2 ? 1 : 0;
    return (truth[n] === 1 ? lesion : tissue) + 10 * Math.sin(n);
  });
  const rows = [spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0];
  return { image: volumeOf(dims, rows, data), truth };
}
