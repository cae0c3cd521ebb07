/** Sessions as JSON: there and back, and refusals that name the place. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cropMask } from '../../src/imaging/crop.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { actionsFromJson, actionsToJson } from '../../src/session/actions-json.js';
import type { Action } from '../../src/session/lesion-state.js';
import { readEarlier, readSession, writeSession } from '../../src/viewer/session-file.js';

const DIMS: Vec3 = [3, 4, 2];
const number = fc.double({ noNaN: true, noDefaultInfinity: true, min: -5, max: 9 }).map((v) => v + 0); // no −0 in JSON
const vec = fc.tuple(number, number, number);
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({
    type: fc.constant('click' as const),
    click: fc.record({ at: vec, label: fc.constantFrom(0 as const, 1 as const) }),
  }),
  fc.record({ type: fc.constant('box' as const), box: fc.record({ min: vec, max: vec }) }),
  fc
    .array(fc.constantFrom(0, 1), { minLength: 24, maxLength: 24 })
    .map((mask) => ({ type: 'mask' as const, mask: cropMask(mask, DIMS) })),
);

it('there and back through text is the same', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 5 }), (actions) => {
      const text = JSON.stringify(actionsToJson(actions));
      expect(actionsFromJson(JSON.parse(text), DIMS, 'a.json')).toEqual(actions);
    }),
  );
});

it('anything else is refused as a file, not as a fault of the program', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue(), { minLength: 1 }), (value) => {
      try {
        actionsFromJson(value, DIMS, 'a.json');
      } catch (error) {
        expect(error).toMatchObject({
          code: 'bad-file',
          message: expect.stringMatching(/^a\.json: actions/),
        });
      }
    }),
  );
});

describe('what is wrong is named', () => {
  const box = { min: [0, 0, 0], max: [1, 1, 1] };
  it.each([
    [5, /actions is no list/],
    [[{ click: [1, 2], label: 1 }], /actions\[0\]\.click is not three numbers/],
    [[{ click: [1, 2, 3], label: 2 }], /actions\[0\]\.label is neither/],
    [[{ box: [[1, 2, 3]] }], /actions\[0\]\.box is not two corners/],
    [
      [{ mask: { box: { min: [0, 0, 0], max: [3, 1, 1] }, runs: [0, 16] } }],
      /mask\.box does not lie in 3 × 4 × 2/,
    ],
    [[{ mask: { box: { min: [1, 0, 0], max: [0, 1, 1] }, runs: [] } }], /mask\.box does not lie/],
    [[{ mask: { box, runs: [0, 7] } }], /mask\.runs does not add up to 8/],
    [[{ mask: { box, runs: [-1, 9] } }], /mask\.runs is no list of lengths/],
    [[{}], /neither a click, a box nor a mask/],
    [[null], /actions\[0\] is no action/],
  ])('%j', (value, message) => {
    expect(() => actionsFromJson(value, DIMS, 'a.json')).toThrow(message);
  });
});

describe('session files', () => {
  const volume = {
    name: 'head.nii',
    dims: DIMS,
    spacing: [1, 1, 1] as Vec3,
    affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    channels: 1,
    channel: 0,
    datatype: 'uint8' as const,
  };
  const session = {
    weights: 'w.safetensors',
    gates: ['auto', 'closed'] as const,
    lesions: [
      {
        name: 'a',
        value: 2,
        channel: 0,
        actions: [{ type: 'click' as const, click: { at: [1, 2, 0] as Vec3, label: 1 as const } }],
        measures: { millilitres: 1.5, longMm: 20, shortMm: 10 },
      },
    ],
  };
  const text = writeSession(volume, session, '2026-03-04T05:06:07.000Z');

  it('there and back', () => {
    const { lesions, ...rest } = session;
    const told = lesions.map(({ measures: _, ...one }) => one);
    expect(readSession(text, 's.json', volume)).toEqual({ ...rest, lesions: told });
  });

  it('of version 1, which had the file’s channel alone', () => {
    const value = JSON.parse(text);
    value.version = 1;
    for (const one of value.lesions) {
      delete one.channel;
      delete one.value;
      delete one.measures;
    }
    const [lesion] = readSession(JSON.stringify(value), 's.json', volume).lesions;
    expect(lesion).toMatchObject({ name: 'a', channel: 0, value: undefined });
    expect(() => readEarlier(JSON.stringify(value), 's.json')).toThrow(/no lesion that was measured/);
  });

  it('is read for its measures whatever the scan', () => {
    expect(readEarlier(text, 's.json')).toMatchObject({
      scan: volume.name,
      saved: '2026-03-04T05:06:07.000Z',
      lesions: [{ name: 'a', measures: { millilitres: 1.5, longMm: 20, shortMm: 10 } }],
    });
  });

  it.each([
    ['no JSON', '{', /s\.json is not JSON/],
    ['another format', '{"format":"x"}', /is no sgp-sam session of version 1/],
    ['another version', text.replace('"version": 2', '"version": 3'), /of version 1 or 2/],
    [
      'another grid',
      text.replace('"dims": [\n   3', '"dims": [\n   5'),
      /saved for a volume of 5,4,2 voxels/,
    ],
    [
      'another channel',
      text.replaceAll('"channel": 0', '"channel": 1'),
      /lesions\[0\] was made in channel 1, and this file has 1/,
    ],
    ['an unknown gate', text.replace('"closed"', '"ajar"'), /gates: not a list/],
    ['a nameless lesion', text.replace('"name": "a"', '"name": 3'), /lesions\[0\]\.name: no text/],
    [
      'a broken action',
      text.replace('"label": 1', '"label": 7'),
      /s\.json, lesions\[0\]: actions\[0\]\.label/,
    ],
  ])('%s', (_, wrong, message) => {
    expect(wrong).not.toBe(text);
    expect(() => readSession(wrong, 's.json', volume)).toThrow(message);
  });
});
