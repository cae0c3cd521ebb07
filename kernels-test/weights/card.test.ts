/** What weights say of their use: read, or refused by the entry's name. */
import { expect, it } from 'vitest';
import { cardOf, plainCard } from '../../src/weights/card.js';

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
    zoom: 'auto',
    scope,
    preset: undefined,
  });
  const untrained = JSON.stringify(['mask_decoder.iou_prediction_head.layers.0.weight']);
  expect(of({ ...own, untrained }).estimatesIou).toBe(false);
});

it.each([
  [{ zoom: 'on' }, /w\.safetensors: metadata zoom is 'on'/],
  [{ scope: '{' }, /metadata scope is no JSON/],
  [{ scope: '[]' }, /metadata scope is no object/],
  [{ scope: '{"modalities":"MR"}' }, /scope\.modalities is no list/],
  [{ scope: '{"modalities":["US"]}' }, /scope\.modalities names 'US'/],
  [{ scope: '{"millilitres":[3,1]}' }, /scope\.millilitres is not a least and a most/],
  [{ scope: '{"extentMm":5}' }, /scope\.extentMm is not/],
])('%j is refused', (more, message) => {
  expect(() => of({ ...own, ...more })).toThrow(message);
});
