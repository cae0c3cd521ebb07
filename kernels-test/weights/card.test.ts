/** What weights say of their use: read, or refused by the entry's name. */
import { expect, it } from 'vitest';
import { calibratedIou, cardOf, plainCard } from '../../src/weights/card.js';

const of = (metadata: Record<string, string>) => cardOf({ name: 'w.safetensors', metadata });
const own = { format: 'sgp-sam weights' };

it('weights that say nothing, and those of others, are plain', () => {
  expect(of({})).toEqual(plainCard);
  expect(of(own)).toEqual(plainCard);
  expect(of({ zoom: '2x', scope: 'everything' })).toEqual(plainCard);
});

it('the preset that training wrote', () => {
  expect(of({ ...own, preset: 'sgp-sam' }).preset).toBe('sgp-sam');
});

it('zoom, scope, and heads that were not trained', () => {
  const scope = { modalities: ['MR', 'CT'], organs: ['brain'], millilitres: [0.01, 200], extentMm: [2, 120] };
  expect(of({ ...own, zoom: 'auto', scope: JSON.stringify(scope) })).toEqual({
    estimatesIou: true,
    calibration: undefined,
    zoom: 'auto',
    scope,
    preset: undefined,
  });
  const untrained = JSON.stringify(['mask_decoder.iou_prediction_head.layers.0.weight']);
  expect(of({ ...own, untrained }).estimatesIou).toBe(false);
  // A calibration estimates in the head's place.
  const knots = [[0.6, 0.1], [0.8, 0.5], [0.9, 0.7]]; // biome-ignore format: pairs
  const calibrated = of({ ...own, untrained, calibration: JSON.stringify(knots) });
  expect(calibrated).toMatchObject({ estimatesIou: true, calibration: knots });
});

it('a calibration is linear between its knots, and constant beyond them', () => {
  const knots = [[0.6, 0.1], [0.8, 0.5], [0.9, 0.7]] as const; // biome-ignore format: pairs
  for (const [
    probability,
    iou,
  ] of [[0, 0.1], [0.6, 0.1], [0.7, 0.3], [0.8, 0.5], [0.85, 0.6], [0.9, 0.7], [1, 0.7]] as const) // biome-ignore format: pairs
    expect(calibratedIou(knots, probability)).toBeCloseTo(iou, 12);
  expect(calibratedIou([[0.5, 0.4]], 0.9)).toBe(0.4);
});

it.each([
  [{ zoom: 'on' }, /w\.safetensors: metadata zoom is 'on'/],
  [{ scope: '{' }, /metadata scope is no JSON/],
  [{ scope: '[]' }, /metadata scope is no object/],
  [{ scope: '{"modalities":"MR"}' }, /scope\.modalities is no list/],
  [{ scope: '{"modalities":["US"]}' }, /scope\.modalities names 'US'/],
  [{ scope: '{"millilitres":[3,1]}' }, /scope\.millilitres is not a least and a most/],
  [{ scope: '{"extentMm":5}' }, /scope\.extentMm is not/],
  [{ calibration: '0.5' }, /metadata calibration is no list of rising pairs/],
  [{ calibration: '[' }, /metadata calibration is no JSON/],
  [{ calibration: '[]' }, /calibration is no list/],
  [{ calibration: '[[0.5,0.2],[0.4,0.3]]' }, /calibration is no list/],
  [{ calibration: '[[0.5,0.2],[0.6,0.1]]' }, /calibration is no list/],
  [{ calibration: '[[0.5,1.2]]' }, /calibration is no list/],
])('%j is refused', (more, message) => {
  expect(() => of({ ...own, ...more })).toThrow(message);
});
