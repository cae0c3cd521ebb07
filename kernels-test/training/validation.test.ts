/** Scores: Dice and its means by hand, and which lesions a validation looks at. */
import { describe, expect, it } from 'vitest';
import type { Decoded, Encoded, Model, Prompt } from '../../src/sam/model.js';
import type { CaseSource } from '../../src/training/cases.js';
import {
  bySize,
  type LesionScore,
  meanDice,
  SIZE_CLASSES,
  type ValidationOptions,
  validate,
} from '../../src/training/validation.js';
import { expectError, imageOf } from '../imaging/support.js';

const score = (millilitres: number, dice: number[], open: number[]): LesionScore => ({
  caseId: 'a',
  spacing: 1.5,
  sets: [],
  lesion: 1,
  millilitres,
  dice,
  open,
  fusion: [],
});

describe('means', () => {
  it('are over lesions, a number per click', () => {
    expect(meanDice([score(1, [0.5, 0.75], []), score(30, [0.25, 0.25], []), score(2, [0, 1], [])])).toEqual([
      0.25,
      expect.closeTo(2 / 3, 12),
    ]);
    expect(meanDice([])).toEqual([]);
  });

  it('by size: limits belong to the larger class, empty classes are left out', () => {
    const scores = [
      score(0.05, [0.25], [0, 0.5]),
      score(0.1, [0.5], [0.5, 0.5]),
      score(0.999, [1], [1, 0]),
      score(8, [0.75], [0.25, 1]),
      score(1e6, [0.25], [0.75, 0]),
    ];
    expect(bySize(scores)).toEqual([
      { name: 'under 0.1 mL', lesions: 1, dice: [0.25], open: [0, 0.5] },
      { name: '0.1 to 1 mL', lesions: 2, dice: [0.75], open: [0.75, 0.25] },
      { name: '8 mL and more', lesions: 2, dice: [0.5], open: [0.5, 0.5] },
    ]);
    expect(bySize([])).toEqual([]);
    expect(bySize([score(3, [1], [])])).toEqual([{ name: '1 to 8 mL', lesions: 1, dice: [1], open: [] }]);
  });

  it('by size: every lesion is in exactly one class', () => {
    const sizes = SIZE_CLASSES.flatMap(({ below }) => (Number.isFinite(below) ? [below * 0.999, below] : []));
    const found = bySize([0, ...sizes, 1e9].map((millilitres) => score(millilitres, [1], [])));
    expect(found.reduce((sum, { lesions }) => sum + lesions, 0)).toBe(sizes.length + 2);
    expect(found.map(({ name }) => name)).toEqual(SIZE_CLASSES.map(({ name }) => name));
  });
});

const SIZE = 8;
const PRESET = { name: 'mm', spacing: 1, clamp: null, orientation: 'storage' } as const;

/** A case of so many lesions, of a few voxels each, in a row. */
function rowOf(lesions: number) {
  const dims = [4 * lesions + 4, 12, 12] as const;
  const number = (i: number, j: number, k: number) =>
    i % 4 > 1 && i < 4 * lesions && j > 3 && j < 8 && k > 4 && k < 8 ? Math.floor(i / 4) + 1 : 0;
  const image = imageOf(dims, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (i, j, k) => 100 + i + 2 * j + 3 * k);
  const labels = Uint8Array.from(imageOf(dims, image.affine, number).data);
  return { id: `row of ${lesions}`, image, lesions: labels, sizes: new Array(lesions).fill(2 * 4 * 3) };
}

/** Stands for a model that answers the prompts of each encoded cube as `answer` says. */
function modelOf(answer: (prompt: Prompt) => Float32Array) {
  const prompts: Prompt[][] = [];
  const model = {
    async encode(): Promise<Encoded> {
      prompts.push([]);
      const logits = Float32Array.from({ length: 12 }, (_, n) => 2.5 - n);
      const gate = { openChannels: [3], channels: 12, logits, dispatches: [] };
      return { gates: [gate] as unknown as Encoded['gates'], token: prompts.length };
    },
    async decode(prompt: Prompt, { token }: { token: number }): Promise<Decoded> {
      expect(token).toBe(prompts.length);
      prompts[prompts.length - 1].push({ points: [...prompt.points], mask: prompt.mask });
      const masks = Float32Array.of(prompt.points.length);
      return { masks, iou: new Float32Array(4), logits: answer(prompt), stages: new Map() };
    },
    emptyMask: () => new Float32Array(1),
    firstMask: ({ masks }: Decoded) => masks,
  };
  return { model: model as unknown as Model, prompts };
}

describe('validation', () => {
  const nothing = () => new Float32Array(SIZE ** 3).fill(-1);
  const options: ValidationOptions = {
    cube: { size: SIZE, preset: PRESET },
    first: 'center',
    clicks: 1,
    perCase: 4,
    seed: 3,
  };
  const source = (...lesions: number[]): CaseSource => ({
    ids: lesions.map(String),
    load: async (n) => rowOf(lesions[n]),
  });

  it('looks at no more lesions of a case than it is told, each once, spread over the case', async () => {
    for (const [lesions, perCase] of [
      [1, 4],
      [3, 4],
      [4, 4],
      [8, 6],
      [11, 10],
      [9, 2],
      [16, 15],
    ]) {
      const { model } = modelOf(nothing);
      const scores = await validate(model, source(lesions), { ...options, perCase });
      const seen = scores.map(({ lesion }) => lesion);
      const what = `${perCase} of ${lesions}: ${seen}`;
      expect(seen.length, what).toBe(Math.min(lesions, perCase));
      expect(new Set(seen).size, what).toBe(seen.length);
      expect(seen, what).toEqual(seen.toSorted((a, b) => a - b));
      const gaps = seen.map((lesion, n) => (seen[n + 1] ?? lesions + 1) - lesion);
      expect(Math.max(...gaps), what).toBeLessThanOrEqual(Math.ceil(lesions / seen.length));
    }
  });

  it('clicks first on the lesion, then where the prediction was wrong', async () => {
    const { model, prompts } = modelOf(nothing);
    const scores = await validate(model, source(2, 3), { ...options, clicks: 4 });
    expect(scores.map(({ caseId, lesion }) => [caseId, lesion])).toEqual([
      ['row of 2', 1],
      ['row of 2', 2],
      ['row of 3', 1],
      ['row of 3', 2],
      ['row of 3', 3],
    ]);
    expect(scores.every(({ dice }) => dice.length === 4 && dice.every((d) => d === 0))).toBe(true);
    expect(scores.every(({ open }) => open[0] === 0.25)).toBe(true);
    expect(scores.every(({ millilitres }) => Math.abs(millilitres - 0.024) < 1e-12)).toBe(true);
    for (const clicks of prompts) {
      expect(clicks.map(({ points }) => points.length)).toEqual([1, 2, 3, 4]);
      // Nothing was marked, so every error is a missed voxel.
      expect(clicks[3].points.every(({ label }) => label === 1)).toBe(true);
      expect(clicks[3].points[0].at).toEqual([SIZE / 2, SIZE / 2, SIZE / 2]);
      expect(clicks.map(({ mask }) => mask?.[0])).toEqual([0, 1, 2, 3]);
    }
    const again = modelOf(nothing);
    expect(await validate(again.model, source(2, 3), { ...options, clicks: 4 })).toEqual(scores);
    expect(again.prompts).toEqual(prompts);
  });

  it('without an error, clicks no more, and still scores every click', async () => {
    // Lesions are 2 × 4 × 3 voxels, and the first click is the same one of them each time.
    const marked = new Float32Array(SIZE ** 3).fill(-1);
    const probe = modelOf((prompt) => {
      for (const { at, label } of prompt.points) {
        const [a, b, c] = at;
        marked[(a * SIZE + b) * SIZE + c] = label === 1 ? 1 : -1;
      }
      return marked.slice();
    });
    const [score] = await validate(probe.model, source(1), { ...options, clicks: 30 });
    // Each click mends one voxel: Dice of n of 24 voxels.
    const want = Array.from({ length: 30 }, (_, n) => (2 * Math.min(24, n + 1)) / (24 + Math.min(24, n + 1)));
    score.dice.forEach((dice, n) => {
      expect(dice, `click ${n + 1}`).toBeCloseTo(want[n], 12);
    });
    expect(probe.prompts[0].at(-1)?.points.length).toBe(24);
  });

  it('draws a scale again at which there is nothing to normalise by, and says where there is none', async () => {
    const made = rowOf(1);
    // Black for 4 mm around the lesion, which is 2 × 4 × 3 mm: a fine scale sees nothing else.
    const far = (i: number, j: number, k: number) =>
      Math.max(Math.abs(i - 2.5), Math.abs(j - 5.5), Math.abs(k - 6)) > 5;
    const dark = (bright: typeof far) => {
      const lit = imageOf(made.image.dims, made.image.affine, (i, j, k) =>
        bright(i, j, k) ? 100 + i + j : 0,
      );
      return { ids: ['dark'], load: async () => ({ ...made, image: lit }) };
    };
    const wide = { ...options, scale: { min: 0.2, max: 2 } };
    const spacings: number[] = [];
    for (let seed = 0; seed < 20; seed++) {
      const scores = await validate(modelOf(nothing).model, dark(far), { ...wide, seed });
      spacings.push(...scores.map(({ spacing }) => spacing));
    }
    expect(spacings.length).toBe(20);
    // Half of the range, by its logarithm, is too fine.
    expect(Math.min(...spacings)).toBeGreaterThan(0.7);
    await expectError(
      () =>
        validate(
          modelOf(nothing).model,
          dark(() => false),
          wide,
        ),
      'bad-prompt',
      /case row of 1: /,
      /nothing to normalise/,
    );
  });
});
