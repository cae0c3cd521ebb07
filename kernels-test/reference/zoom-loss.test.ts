import { describe, expect, test } from 'vitest';
import { fixturePath, maxAbs, randomTensor, readFixture, relativeL2, tensor64, zoomLoss } from './index.js';

test('by hand: two voxels at logit 0', () => {
  const loss = zoomLoss(tensor64([1, 2]), tensor64([1, 2], [1, 0]), { smooth: 0 });
  // Dice 1 − 2·½/(½ + 1); focal ½·(¾·2 + ¼·2)·¼·log 2.
  expect(loss.dice).toBeCloseTo(1 / 3, 14);
  expect(loss.focal).toBeCloseTo(0.25 * Math.LN2, 14);
  expect(loss.zoom).toBeCloseTo(1 / 3 + 0.25 * Math.LN2, 14);
});

test('the gradient is the finite difference of the value', () => {
  const n = 6;
  const logits = randomTensor([3, n], 1, 4);
  // A mixed sample, one without lesion, one with nothing else.
  const target = tensor64([3, n], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
  for (const options of [
    {},
    { zoom: 0.4, gamma: 1.5, diceWeight: 0.3, focalWeight: 2, smooth: 0.1 },
    { gamma: 0 },
  ]) {
    const { gradient } = zoomLoss(logits, target, options);
    for (let i = 0; i < logits.data.length; i++) {
      const at = (value: number) => {
        const moved = logits.data.slice();
        moved[i] = value;
        return zoomLoss(tensor64(logits.shape, moved), target, options).zoom;
      };
      const step = 1e-5;
      const slope = (at(logits.data[i] + step) - at(logits.data[i] - step)) / (2 * step);
      expect(Math.abs(gradient.data[i] - slope)).toBeLessThan(1e-8);
    }
  }
});

test('finite for logits up to 1e4, and falling where wrong', () => {
  const logits = tensor64([1, 6], [1e4, -1e4, 1e4, -1e4, 0, 800]);
  const loss = zoomLoss(logits, tensor64([1, 6], [1, 0, 0, 1, 1, 0]));
  expect(Number.isFinite(loss.zoom)).toBe(true);
  for (const g of loss.gradient.data) expect(Number.isFinite(g)).toBe(true);
  expect(loss.gradient.data[0]).toBeCloseTo(0, 15);
  expect(loss.gradient.data[2]).toBeGreaterThan(0.01);
  expect(loss.gradient.data[3]).toBeLessThan(-0.01);
});

test('the batch’s loss is the mean of its samples’', () => {
  const logits = randomTensor([2, 4], 2, 3);
  const target = tensor64([2, 4], [1, 0, 0, 0, 0, 1, 1, 0]);
  const whole = zoomLoss(logits, target);
  const single = [0, 1].map((b) =>
    zoomLoss(
      tensor64([1, 4], logits.data.slice(4 * b, 4 * b + 4)),
      tensor64([1, 4], target.data.slice(4 * b, 4 * b + 4)),
    ),
  );
  expect(whole.zoom).toBeCloseTo((single[0].zoom + single[1].zoom) / 2, 14);
  expect(whole.diceOf[1]).toBe(single[1].dice);
  expect(whole.focalOf[0]).toBe(single[0].focal);
  expect(whole.gradient.data[5]).toBeCloseTo(single[1].gradient.data[1] / 2, 15);
});

const file = fixturePath('zoom_loss.safetensors');

describe.skipIf(file === null)('the zoom_loss fixture', () => {
  for (const name of ['small', 'none', 'all', 'extreme', 'one_voxel']) {
    test(name, () => {
      const fixture = readFixture(file!);
      const settings = { zoom: Number(fixture.metadata.zoom), gamma: Number(fixture.metadata.gamma) };
      const loss = zoomLoss(fixture.tensor(`${name}.logits`), fixture.tensor(`${name}.target`), settings);
      const expected = fixture.tensor(`${name}.loss`).data;
      for (const [i, value] of [loss.zoom, loss.dice, loss.focal].entries()) {
        expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(
          1e-6 * Math.max(Math.abs(expected[i]), 1e-3),
        );
      }
      const gradient = fixture.tensor(`${name}.grad`);
      expect(relativeL2(loss.gradient, gradient)).toBeLessThan(1e-6);
      expect(maxAbs(loss.gradient, gradient)).toBeLessThan(1e-6 * maxAbs(gradient));
    });
  }
});
