/** One opener: what names, addresses and bytes are taken for, and that what was opened is closed should the rest fail. */
import { createHash } from 'node:crypto';
import { describe, expect, it, test, vi } from 'vitest';
import { memorySource } from '../../src/base/byte-source.js';
import { SgpSamError } from '../../src/base/errors.js';
import { configByName, samMed3DConfigs } from '../../src/sam/config.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { inferConfig } from '../../src/sam/infer.js';
import { formulaSource } from '../../src/weights/formula.js';
import { isFormula, isTrained, openAnyWeights, type WeightOpeners } from '../../src/weights/open.js';
import { DELTA_FORMAT } from '../../src/weights/overlay.js';
import { writeSafetensors } from '../../src/weights/safetensors-write.js';
import { openWeights } from '../../src/weights/weight-source.js';
import { expectError } from './support/errors.js';

const tensor = (name: string) => ({ name, dtype: 'F32' as const, shape: [2], data: Float32Array.of(1, 2) });
const whole = new Uint8Array(writeSafetensors([tensor('a')], {}));
const delta = writeSafetensors([tensor('b')], { format: DELTA_FORMAT, frozen: '{}' });

const closed: string[] = [];
const files: Readonly<Record<string, Uint8Array>> = { whole, delta };
/** Files are these, by name. */
const openers: WeightOpeners = {
  formula: (text) => formulaSource(new Map([[text, [3]]]), 0),
  named: async (name) => {
    const bytes = files[String(name)];
    if (!bytes) throw new SgpSamError('bad-file', `${name}: no such file`);
    const source = memorySource(bytes, String(name));
    return openWeights({
      ...source,
      close: async () => {
        closed.push(String(name));
      },
    });
  },
};

test('texts are formulas or names; bytes, Blobs, Files and streams are files’ content', async () => {
  const formula = await openAnyWeights({ weights: 'formula:x' }, openers);
  expect([...formula.tensors.keys(), isTrained(formula), isFormula('formula:x')]).toEqual([
    'formula:x',
    false,
    true,
  ]);
  const named = await openAnyWeights({ weights: 'whole' }, openers);
  expect([named.name, isTrained(named), isFormula('whole')]).toEqual(['whole', true, false]);
  const blob = new Blob([whole]);
  for (const [weights, name] of [
    [whole, 'weights in memory'],
    [whole.buffer, 'weights in memory'],
    [blob, 'weights'],
    [new File([whole], 'own.safetensors'), 'own.safetensors'],
    [blob.stream(), 'weights'],
  ] as const) {
    const source = await openAnyWeights({ weights }, openers);
    expect([source.name, ...(await source.readF32('a'))]).toEqual([name, 1, 2]);
  }
});

test('a checksum is for the weights, whatever holds them, and not for the delta', async () => {
  const sha256 = createHash('sha256').update(whole).digest('hex');
  for (const weights of [whole, new Blob([whole]), new Blob([whole]).stream()]) {
    const source = await openAnyWeights({ weights, deltaWeights: new Blob([delta]), sha256 }, openers);
    expect([...source.tensors.keys()]).toEqual(['b']);
  }
  const wrong = sha256.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  await expectError(() => openAnyWeights({ weights: whole, sha256: wrong }, openers), 'bad-file', 'SHA-256');
  // As in a page that came by http: what cannot be checked is not taken, and what need not be is.
  vi.stubGlobal('crypto', {});
  try {
    await expectError(
      () => openAnyWeights({ weights: whole, sha256 }, openers),
      'unsupported',
      'cannot be computed',
    );
    expect((await openAnyWeights({ weights: new Blob([whole]).stream() }, openers)).tensors).toBeDefined();
  } finally {
    vi.unstubAllGlobals();
  }
});

describe('what was opened is closed', () => {
  it.each([
    ['no-such', 'bad-file', ['whole']],
    ['whole', 'bad-weights', ['whole', 'whole']],
  ] as const)('when the delta is %s', async (deltaWeights, code, both) => {
    closed.length = 0;
    await expectError(() => openAnyWeights({ weights: 'whole', deltaWeights }, openers), code);
    expect(closed).toEqual(both);
  });

  it('with the one that both make', async () => {
    closed.length = 0;
    const source = await openAnyWeights({ weights: 'whole', deltaWeights: 'delta' }, openers);
    expect(closed).toEqual([]);
    await source.close();
    expect(closed).toEqual(['whole', 'delta']);
  });
});

test.each(Object.keys(samMed3DConfigs).flatMap((name) => [name, `sgp-${name}`]))(
  'formula:%s says itself what it is of',
  (name) => {
    const { source } = formulaWeights(`formula:${name}:3`);
    expect(inferConfig(source.tensors, source.metadata, source.name)).toEqual(configByName(name));
  },
);
