/**
 * NaN, infinity and absurd values in any parameter: never a mask. As weights are read they are an error that names tensor and
 * element; and where they get past that (written to the device, as a training run that goes wrong would), an encode or decode
 * fails naming the stage, unless the mask is the very same without them (the parameter had no say in it).
 *
 * @module-tag long
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SgpSamError } from '../../src/base/errors.js';
import { adapterLine } from '../../src/engine/gpu/device.js';
import type { GateSetting } from '../../src/engine/graph/regions.js';
import { configByName, type ModelConfig } from '../../src/sam/config.js';
import { Model } from '../../src/sam/model.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { saneReader } from '../../src/weights/check.js';
import { formulaSource } from '../../src/weights/formula.js';
import { testEngine } from '../support/run.js';

const INSANE = [Number.NaN, Number.POSITIVE_INFINITY, 3e38];
/** sgp-tiny with a windowed block, a global one, and one module. */
const tiny = configByName('sgp-tiny');
const config: ModelConfig = {
  ...tiny,
  depth: 2,
  global: [1],
  ...(tiny.sgpm && { sgpm: { ...tiny.sgpm, sites: [1] } }),
};
const source = formulaSource(new Map(modelParameters(config).map(({ name, shape }) => [name, shape])), 0);
const inEncoder = (name: string) => /^(image_encoder|sgpm)/.test(name);
/** What the encoder reads last: the decoder's parameters are then tried on the last embedding that is right. */
const names = [...source.tensors.keys()].sort((a, b) => Number(inEncoder(a)) - Number(inEncoder(b)));

const same = (a: Float32Array[] = [], b: Float32Array[] = []) =>
  a.length === b.length && a.every((values, n) => values.every((v, i) => v === b[n][i]));

async function failure(work: () => Promise<unknown>): Promise<SgpSamError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof SgpSamError) return error;
    throw error;
  }
}

describe('as they are read', () => {
  it.each([...INSANE, Number.NEGATIVE_INFINITY, -4097, 65504])(
    '%s anywhere in a tensor is named',
    async (bad) => {
      for (const [n, name] of names.entries()) {
        const values = await source.readF32(name);
        const at = (n * 7919) % values.length;
        values[at] = bad;
        const error = await failure(() =>
          saneReader({ name: 'w.safetensors', readF32: async () => values })(name),
        );
        expect(error?.code, name).toBe('non-finite');
        expect(error?.message).toContain(`w.safetensors: tensor '${name}': element ${at} is ${values[at]}`);
      }
    },
  );

  it('a model with one does not load, and leaves nothing on the device', async () => {
    const engine = await testEngine();
    const before = engine.memory.bytes;
    const name = 'mask_decoder.transformer.final_attn_token_to_image.q_proj.weight';
    const readF32 = async (tensor: string) => {
      const values = await source.readF32(tensor);
      if (tensor === name) values[17] = Number.NaN;
      return values;
    };
    const error = await failure(() => Model.load(engine, { ...source, readF32 }, { config }));
    expect(error?.message).toContain(`tensor '${name}': element 17 is NaN`);
    expect(engine.memory.bytes).toBe(before);
  });
});

describe('on the device', () => {
  let model: Model;
  let image: Float32Array;
  const { volume } = config;

  beforeAll(async () => {
    model = await Model.load(await testEngine(), source, { config });
    image = Float32Array.from({ length: volume ** 3 }, (_, n) => Math.sin(0.37 * n) + Math.cos(0.011 * n));
  });
  afterAll(() => model.dispose());

  const encode = (gate: GateSetting) => model.encode(image, { gates: model.sites.map(() => gate) });
  /** A second click: a point of each kind, and a mask as the prompt. */
  async function decode(): Promise<Float32Array[]> {
    const points = [[volume / 2, volume / 3, volume / 4] as const, [1, 2, 3] as const].map((at, n) => ({
      at,
      label: n === 0 ? (1 as const) : (0 as const),
    }));
    const mask = model.emptyMask().map((_, n) => Math.sin(n));
    const { masks, iou } = await model.decode({ points, mask });
    return [masks, iou];
  }

  it.each(INSANE)(
    '%s in every parameter: an error that names a stage, or the same mask',
    async (bad) => {
      const right = new Map<GateSetting, Float32Array[]>();
      // SwiftShader takes several times as long; prime to the alternation of gates below.
      const step = /swiftshader/i.test(adapterLine((await testEngine()).gpu.adapter)) ? 5 : 1;
      if (step > 1) console.warn(`SwiftShader is slow: every ${step}th parameter`);
      let errors = 0;
      const silent: string[] = [];
      for (const gate of ['auto', 'open'] as const) {
        await encode(gate);
        right.set(gate, await decode());
      }
      for (const [n, name] of names.entries()) {
        if (n % step > 0) continue;
        const values = await model.parameters.read(name);
        const wrong = values.slice();
        wrong[(n * 7919) % values.length] = bad;
        model.parameters.write(name, wrong);
        // Closed gates would not look at half of the modules' parameters. What the decoder reads spoils no embedding.
        const gate = n % 2 === 0 ? 'auto' : 'open';
        const encoded = inEncoder(name) ? await failure(() => encode(gate)) : undefined;
        let result: Float32Array[] | undefined;
        const error =
          encoded ??
          (await failure(async () => {
            result = await decode();
          }));
        if (error) {
          errors++;
          expect(error.code, name).toBe('non-finite');
          expect(error.message, name).toMatch(
            /go wrong: [a-z_]+[\w.]*: element \d+ is -?(NaN|Infinity|[\d.e+]+)\n/,
          );
        } else if (!same(result, right.get(inEncoder(name) ? gate : 'open'))) silent.push(name);
        model.parameters.write(name, values);
      }
      expect(silent).toEqual([]);
      // And it is the parameters that have a say: nearly all of them.
      expect(errors).toBeGreaterThan((0.8 * names.length) / step);
    },
    400_000,
  );
});
