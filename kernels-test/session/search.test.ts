/** Scales looked for on volumes, by a stand-in for a model that is right at any scale: no device. */
import { describe, expect, it } from 'vitest';
import { diceOf } from '../../src/imaging/metrics/overlap.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { POLICY } from '../../src/session/zoom.js';
import { ballIn, thresholdModel } from './thresholds.js';

const centre: Vec3 = [60, 60, 60];
const dims: Vec3 = [120, 120, 120];
/** Made once: it has two million voxels. */
const large = ballIn(dims, [1, 1, 1], centre, 56);

describe('a first click', () => {
  it.each([
    ['small, in the middle', 6, [60, 60, 60]],
    ['middling', 30, [60, 60, 60]],
    ['large', 56, [60, 60, 60]],
    ['large, clicked near its end', 56, [80, 60, 60]],
  ] as const)('%s: whole, at a scale that fits, in four encodes at most', async (_, mm, at) => {
    const { image, truth } = mm === 56 ? large : ballIn(dims, [1, 1, 1], centre, mm);
    const { model } = thresholdModel();
    const session = new LesionSession(model, image, { zoom: 'auto' });
    const { mask, zoom, encodes, roi } = await session.addClick({ at, label: 1 });
    expect(zoom.tried.length).toBeLessThanOrEqual(POLICY.encodes);
    expect(encodes).toBe(zoom.tried.length);
    const taken = zoom.tried.find(({ spacing }) => spacing === zoom.spacing)!;
    expect(roi.preset.spacing).toBe(zoom.spacing);
    expect(taken).toMatchObject({ holdsClick: true, cut: false });
    expect(taken.extent).toBeGreaterThanOrEqual(POLICY.least);
    expect(taken.extent).toBeLessThanOrEqual(POLICY.most);
    expect(diceOf(mask, truth)).toBeGreaterThan(mm < 10 ? 0.8 : 0.9);
  });

  it('a scale at which there is a single value does not end the search', async () => {
    // The second scale to be looked at, 0.5 mm, lies within the ball.
    const { image, truth } = ballIn(dims, [1, 1, 1], centre, 46);
    const even = { ...image, data: image.data.map((v, n) => (truth[n] === 1 ? 1000 : v)) };
    const { zoom } = await new LesionSession(thresholdModel().model, even, { zoom: 'auto' }).addClick({
      at: centre,
      label: 1,
    });
    // At 2 mm it is sure.
    expect(zoom.tried.map(({ spacing }) => spacing)).toEqual([1, 2]);
  });

  it('nor does one where the first is; where all hold a single value, the click is refused', async () => {
    const { image, truth } = ballIn(dims, [1, 1, 1], centre, 88);
    const even = { ...image, data: image.data.map((v, n) => (truth[n] === 1 ? 1000 : v)) };
    const click = { at: centre, label: 1 } as const;
    const { zoom } = await new LesionSession(thresholdModel().model, even, { zoom: 'auto' }).addClick(click);
    expect(zoom.tried[0].spacing).toBe(2);
    const flat = { ...image, data: image.data.map(() => 7) };
    const refused = new LesionSession(thresholdModel().model, flat, { zoom: 'auto' }).addClick(click);
    await expect(refused).rejects.toMatchObject({ code: 'bad-prompt' });
  });

  it('the same lesion without zoom is cut', async () => {
    const { image, truth } = large;
    const session = new LesionSession(thresholdModel().model, image, { zoom: 'off' });
    const { mask, zoom } = await session.addClick({ at: [80, 60, 60], label: 1 });
    expect(zoom.tried[0].cut).toBe(true);
    expect(diceOf(mask, truth)).toBeLessThan(0.96);
  });

  it('scales that are compared see the click alone; a larger one for a lesion that is known sees its mask', async () => {
    const { image } = ballIn(dims, [1, 1, 1], centre, 40);
    const { model, prompts } = thresholdModel();
    const session = new LesionSession(model, image, { zoom: 'auto' });
    await session.addBox({ min: [52, 52, 52], max: [68, 68, 68] });
    expect(prompts.length).toBeGreaterThan(1);
    expect(prompts[0].mask!.every((v) => v === 0)).toBe(true);
    expect(prompts[1].mask!.some((v) => v > 4)).toBe(true);
    const first = thresholdModel();
    await new LesionSession(first.model, image, { zoom: 'auto' }).addClick({ at: [75, 60, 60], label: 1 });
    expect(first.prompts.length).toBeGreaterThan(1);
    for (const { mask } of first.prompts) expect(mask!.every((v) => v === 0)).toBe(true);
  });

  it('a box says the scale and stays inside the cube', async () => {
    const { image } = ballIn(dims, [1, 1, 1], centre, 20);
    const session = new LesionSession(thresholdModel().model, image, { zoom: 'auto' });
    const { zoom } = await session.addBox({ min: [50, 50, 50], max: [70, 70, 70] });
    expect(zoom.tried).toHaveLength(1);
    expect(zoom.spacing).toBeCloseTo(21 / (POLICY.fill * 48), 9);
  });
});

describe('later clicks', () => {
  it('keep the scale, and what was encoded, unless the mask outgrows it or they lie outside', async () => {
    const { image } = ballIn(dims, [1, 1, 1], centre, 12);
    const session = new LesionSession(thresholdModel().model, image, { zoom: 'auto' });
    const first = await session.addClick({ at: centre, label: 1 });
    const second = await session.addClick({ at: [62, 60, 60], label: 1 });
    expect(second.zoom).toMatchObject({ spacing: first.zoom.spacing, why: { code: 'kept' } });
    expect(second.zoom.tried).toHaveLength(1);
    const far = await session.addClick({ at: [115, 60, 60], label: 0 });
    expect(far.zoom.spacing).toBeGreaterThan(first.zoom.spacing);
    expect(far.clicks).toHaveLength(3);
  });
});
