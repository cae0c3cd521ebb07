/**
 * What a host may do with models and sessions: several at once, clicks without waiting, failures in between.
 *
 * @module-tag long
 */
import { describe, expect, it } from 'vitest';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model } from '../../src/sam/model.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { testEngine } from '../support/run.js';

const head = makePhantom({ seed: 3, dims: [48, 56, 40], spacing: [3, 3, 3] });
const other = makePhantom({ seed: 4, dims: [48, 56, 40], spacing: [3, 3, 3] });
const at = head.lesions[0].voxel;
const second = [at[0] + 2, at[1], at[2]] as const;

async function model() {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  return Model.load(await testEngine(), source, { config });
}

/** The masks of clicking `at` and then `second`, one after the other, on a model of one's own. */
async function alone(volume: typeof head.volume): Promise<Uint8Array[]> {
  const m = await model();
  const session = new LesionSession(m, volume);
  const masks = [(await session.addClick({ at, label: 1 })).mask];
  masks.push((await session.addClick({ at: second, label: 0 })).mask);
  m.dispose();
  return masks;
}

describe('LesionSession', () => {
  it('two sessions on one model do not take each other for their own', async () => {
    const want = [await alone(head.volume), await alone(other.volume)];
    expect(want[0][1]).not.toEqual(want[1][1]);
    const m = await model();
    const a = new LesionSession(m, head.volume);
    const b = new LesionSession(m, other.volume);
    expect((await a.addClick({ at, label: 1 })).mask).toEqual(want[0][0]);
    expect((await b.addClick({ at, label: 1 })).mask).toEqual(want[1][0]);
    const again = await a.addClick({ at: second, label: 0 });
    expect(again.mask).toEqual(want[0][1]);
    expect(again.timings.encode).toBeGreaterThan(0);
    expect((await b.addClick({ at: second, label: 0 })).mask).toEqual(want[1][1]);
    m.dispose();
  });

  it('clicks that nobody waited for are taken in turn', async () => {
    const want = await alone(head.volume);
    const m = await model();
    const session = new LesionSession(m, head.volume);
    const results = await Promise.all([
      session.addClick({ at, label: 1 }),
      session.addClick({ at: second, label: 0 }),
    ]);
    expect(results.map((r) => r.mask)).toEqual(want);
    m.dispose();
  });

  it('a first click that failed is as if it had not been', async () => {
    const want = await alone(head.volume);
    const m = await model();
    const session = new LesionSession(m, head.volume);
    const name = 'image_encoder.neck.3.bias';
    const bias = await m.parameters.read(name);
    m.parameters.write(name, bias.slice().fill(Number.NaN));
    const corner = [4, 4, 4] as const;
    await expect(session.addClick({ at, label: 1 })).rejects.toMatchObject({ code: 'non-finite' });
    await expect(session.addClick({ at: corner, label: 0 })).rejects.toMatchObject({ code: 'bad-prompt' });
    m.parameters.write(name, bias);
    expect((await session.addClick({ at, label: 1 })).mask).toEqual(want[0]);
    await expect(session.addClick({ at: [900, 0, 0], label: 1 })).rejects.toMatchObject({
      code: 'bad-prompt',
    });
    expect((await session.addClick({ at: second, label: 0 })).mask).toEqual(want[1]);
    m.dispose();
  });
});

it('a model that holds another volume refuses to decode for the first', async () => {
  const m = await model();
  const prompt = { points: [{ at: [24, 24, 24] as const, label: 1 as const }], mask: m.emptyMask() };
  await expect(m.decode(prompt)).rejects.toThrow(/no volume is encoded/);
  const image = new Float32Array(48 ** 3).fill(0.5);
  const { token } = await m.encode(image);
  await m.decode(prompt, { token });
  await m.encode(image);
  await expect(m.decode(prompt, { token })).rejects.toThrow(/another volume was encoded since/);
  m.dispose();
});
