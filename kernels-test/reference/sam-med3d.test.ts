import { beforeAll, describe, expect, test } from 'vitest';
import {
  decodeReference,
  denseEncoding,
  encodeReference,
  type Fixture,
  firstMask,
  fixtureLayout,
  fixturePath,
  formulaVolume,
  formulaWeights,
  type GetWeight,
  maxAbs,
  pointEncoding,
  randomTensor,
  readFixture,
  referenceConfigs,
  relativeL2,
  type Stages,
  samMed3dReference,
  shapesFromGradients,
  stage,
  tensor64,
  zoomLoss,
} from './index.js';

const BOUND = 1e-6;
const config = referenceConfigs.tiny;

test('points: labels choose the embedding, and a point that is none is appended', () => {
  const gaussian = tensor64([3, 1], [1, 0, 0]);
  const weights = {
    gaussian,
    negative: tensor64([3], [10, 10, 10]),
    positive: tensor64([3], [20, 20, 20]),
    notAPoint: tensor64([3], [7, 8, 9]),
  };
  const points = tensor64([1, 3, 3], [0.5, 0, 0, 0.5, 0, 0, 0.5, 0, 0]);
  const got = pointEncoding(weights, points, tensor64([1, 3], [1, 0, -1]), [8, 16, 16]);
  // (0.5 + 0.5)/8 → 2c − 1 = −¾ → t = −3π/2: sin 1, cos 0.
  expect(got.shape).toEqual([1, 4, 3]);
  expect(maxAbs(got, [21, 20, 21, 11, 10, 11, 7, 8, 9, 7, 8, 9])).toBeLessThan(1e-14);
});

test('the dense encoding swaps its first two axes', () => {
  const g = 4;
  const gaussian = randomTensor([3, 2], 1);
  const dense = denseEncoding(gaussian, g);
  const points = tensor64([1, 1, 3], [2, 1, 3]);
  const zero = tensor64([6]);
  const weights = { gaussian, negative: zero, positive: zero, notAPoint: zero };
  const point = pointEncoding(weights, points, tensor64([1, 1], [1]), [g, g, g]);
  const cell = (i: number, j: number, k: number) => {
    const at = ((i * g + j) * g + k) * 6;
    return dense.data.subarray(at, at + 6);
  };
  expect(maxAbs(cell(1, 2, 3), point.data.subarray(0, 6))).toBeLessThan(1e-14);
  expect(maxAbs(cell(2, 1, 3), point.data.subarray(0, 6))).toBeGreaterThan(0.01);
});

const samFile = fixturePath('sam_med3d_tiny.safetensors');
const sgpFile = fixturePath('sgp_sam_tiny.safetensors');

/** Every stage of `trace` (a prefix, or '' for those without) the fixture holds, by relative L2. */
function compare(fixture: Fixture, stages: Stages, prefix: string, names: readonly string[]): void {
  for (const name of names) {
    const expected = fixture.tensor(prefix + name);
    const actual = fixtureLayout(name, stage(stages, name));
    expect(actual.shape, prefix + name).toEqual(expected.shape);
    expect(relativeL2(actual, expected), prefix + name).toBeLessThan(BOUND);
  }
}

describe.skipIf(samFile === null || sgpFile === null)('the tiny fixtures', () => {
  let sam: Fixture;
  let sgp: Fixture;
  let weights: GetWeight;
  const volume = formulaVolume(config.volume);
  const noMask = tensor64([1, 24, 24, 24]);

  beforeAll(() => {
    sam = readFixture(samFile!);
    sgp = readFixture(sgpFile!);
    weights = formulaWeights(shapesFromGradients(sgp, config.out));
  });

  test('sam_med3d_tiny: the encoder, padded positions included, and three prompts', () => {
    const { metadata } = sam;
    expect(JSON.parse(metadata.global)).toEqual(config.globalBlocks);
    const encoded = encodeReference(config, weights, volume);
    const encoder = sam.names.filter((name) => name.startsWith('image_encoder.'));
    expect(encoder.length).toBe(11);
    compare(
      sam,
      encoded,
      '',
      encoder.filter((name) => name !== 'image_encoder.blocks.0.attn'),
    );
    const windows = stage(encoded, 'image_encoder.blocks.0.attn.windows');
    expect(relativeL2(windows, sam.tensor('image_encoder.blocks.0.attn'))).toBeLessThan(BOUND);

    const embedding = stage(encoded, 'embedding');
    const points = sam.tensor('points');
    const labels = sam.tensor('labels');
    const traced = (trace: string) =>
      sam.names.filter((name) => name.startsWith(trace)).map((name) => name.slice(trace.length));

    const click1 = decodeReference(config, weights, embedding, { points, labels, mask: noMask });
    compare(sam, click1, 'click1.', traced('click1.'));
    compare(sam, click1, '', ['prompt_encoder.dense_pe']);
    const click2 = decodeReference(config, weights, embedding, {
      points: tensor64([1, 1, 3], points.data.slice(0, 3)),
      labels: tensor64([1, 1], labels.data.slice(0, 1)),
      mask: firstMask(stage(click1, 'masks')),
    });
    compare(sam, click2, 'click2.', traced('click2.'));
    const nopoint = decodeReference(config, weights, embedding, {
      points: null,
      labels: null,
      mask: firstMask(stage(click2, 'masks')),
    });
    compare(sam, nopoint, 'nopoint.', traced('nopoint.'));
  });

  test('sgp_sam_tiny: open, with a site closed, and closed, which is SAM-Med3D', () => {
    const sites = JSON.parse(sgp.metadata.sites) as number[];
    const closed = JSON.parse(sgp.metadata.closed) as Record<string, number[]>;
    expect(Object.keys(closed)).toEqual(['open', 'site0closed', 'closed']);
    const points = sgp.tensor('points');
    const labels = sgp.tensor('labels');
    for (const [trace, shut] of Object.entries(closed)) {
      const shutBias = tensor64([config.dim], new Float64Array(config.dim).fill(-50));
      const getWeight: GetWeight = (name) =>
        shut.some((j) => name === `sgpm.${j}.gate.lin2.bias`) ? shutBias : weights(name);
      const stages = samMed3dReference(config, getWeight, volume, points, labels, noMask, { sites });
      const names = sgp.names
        .filter((name) => name.startsWith(`${trace}.`))
        .map((name) => name.slice(trace.length + 1));
      expect(names.length).toBe(7);
      compare(sgp, stages, `${trace}.`, names);
      if (trace === 'open') {
        const loss = zoomLoss(stage(stages, 'upsampled_logits'), sgp.tensor('train.target'));
        expect(relativeL2([loss.zoom, loss.dice, loss.focal], sgp.tensor('train.loss'))).toBeLessThan(BOUND);
        for (let j = 0; j < sites.length; j++) {
          const open = stage(stages, `sgpm.${j}.open`).data.reduce((sum, value) => sum + value, 0);
          expect(open / config.dim).toBeGreaterThan(0.4);
          expect(open / config.dim).toBeLessThan(0.7);
        }
      }
      if (trace === 'closed') {
        expect(relativeL2(stage(stages, 'masks'), sam.tensor('click1.masks'))).toBeLessThan(BOUND);
      }
    }
  });

  test('a batch is its samples side by side', () => {
    const one = (seed: number) => randomTensor([1, 6, 6, 6, config.out], seed);
    const both = tensor64([2, 6, 6, 6, config.out], [...one(1).data, ...one(2).data]);
    const points = tensor64([2, 1, 3], [20, 24, 30, 5, 40, 11]);
    const labels = tensor64([2, 1], [1, 0]);
    const mask = randomTensor([2, 24, 24, 24], 3);
    const together = decodeReference(config, weights, both, { points, labels, mask });
    const second = decodeReference(config, weights, one(2), {
      points: tensor64([1, 1, 3], points.data.slice(3)),
      labels: tensor64([1, 1], [0]),
      mask: tensor64([1, 24, 24, 24], mask.data.slice(24 ** 3)),
    });
    for (const name of ['masks', 'iou_pred', 'upsampled_logits']) {
      const expected = stage(second, name).data;
      const got = stage(together, name).data;
      expect(relativeL2(got.subarray(expected.length), expected)).toBeLessThan(1e-13);
    }
  });
});
