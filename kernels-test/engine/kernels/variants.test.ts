/** How variants are named, and which of them is taken: forced before measured before the rule's. */
import { describe, expect, it } from 'vitest';
import {
  chosenVariant,
  defineVariants,
  plainVariants,
  sizedNames,
  type Variant,
  type VariantFamily,
  variedKernels,
} from '../../../src/engine/kernels/variants.js';
import { matmulCandidates, matmulNames } from '../../../src/engine/ops/matmul-variants.js';
import {
  windowAttentionCandidates,
  windowAttentionNames,
} from '../../../src/sam/ops/window-attention-plan.js';
import { devices } from '../../support/programs.js';

type Shape =
  | { readonly kind: 'plain' }
  | { readonly kind: 'tiled'; readonly rows: number; readonly columns: number }
  | { readonly kind: 'per-16'; readonly rows: number };
const names = defineVariants<Shape>(
  ['variants.test'],
  sizedNames<Shape>({ plain: [], tiled: ['rows', 'columns'], 'per-16': ['rows'] }),
);
const candidates: readonly Shape[] = [
  { kind: 'tiled', rows: 8, columns: 16 },
  { kind: 'tiled', rows: 32, columns: 4 },
  { kind: 'per-16', rows: 2 },
  { kind: 'plain' },
];

describe('names', () => {
  it('have a kind and sizes, and say their kind', () => {
    expect(candidates.map(names.nameOf)).toEqual(['tiled-8x16', 'tiled-32x4', 'per-16-2', 'plain']);
    for (const [name, kind] of [
      ['tiled', 'tiled'],
      ['tiled-8x16', 'tiled'],
      ['per-16', 'per-16'],
      ['per-16-2', 'per-16'],
      ['plain', 'plain'],
    ])
      expect(names.kindOf(name), name).toBe(kind);
    for (const name of ['', 'quantum', 'tiled-8', 'tiled-8x16x2', 'tiled-', 'tiled-ax4', 'plain-4', 'per'])
      expect(names.kindOf(name), name).toBeUndefined();
  });

  it('of what is planned for every kind of device are distinct, and say the kind', () => {
    const of = <V extends Variant>(family: VariantFamily<V>, variants: readonly V[]) => {
      const all = variants.map(family.nameOf);
      expect(new Set(all).size).toBe(all.length);
      expect(all.map(family.kindOf)).toEqual(variants.map(({ kind }) => kind));
    };
    for (const caps of devices) {
      of(matmulNames, matmulCandidates({ rows: 4096, k: 64, n: 4096 }, caps));
      for (const headDim of [8, 64])
        of(
          windowAttentionNames,
          windowAttentionCandidates(caps, { batch: 1, heads: 2, headDim, grid: [8, 8, 8], window: 0 }),
        );
    }
  });

  it('make their kernels known', () => {
    expect(variedKernels()).toEqual(
      expect.arrayContaining(['attention', 'conv3d', 'matmul', 'variants.test']),
    );
  });
});

describe('the choice', () => {
  const choose = (caps: { force?: Record<string, string>; tuned?: Record<string, string> }) =>
    chosenVariant<Shape>(caps, 'k', names, {
      shape: '4x4',
      candidates,
      usual: (kind) => (kind === 'tiled' ? (candidates[1] as Shape) : { kind: 'plain' }),
    });

  it('is the usual one, or what was measured for the shape if that is still there', () => {
    expect(choose({}).call).toEqual({
      kernel: 'k',
      variant: 'plain',
      tunable: { key: 'k 4x4', candidates: ['tiled-8x16', 'tiled-32x4', 'per-16-2', 'plain'] },
    });
    expect(choose({ tuned: { 'k 4x4': 'tiled-8x16' } }).chosen).toBe(candidates[0]);
    expect(choose({ tuned: { 'k 4x4': 'of another version' } }).call.variant).toBe('plain');
    expect(choose({ tuned: { 'k 4x5': 'tiled-8x16' } }).call.variant).toBe('plain');
  });

  it('is what is forced by its name, or of a kind the usual one, else the first', () => {
    const tuned = { 'k 4x4': 'plain' };
    expect(choose({ tuned, force: { k: 'tiled-8x16' } }).chosen).toBe(candidates[0]);
    expect(choose({ tuned, force: { k: 'tiled' } }).chosen).toBe(candidates[1]);
    expect(choose({ tuned, force: { k: 'per-16' } }).chosen).toBe(candidates[2]);
    expect(choose({ tuned, force: { other: 'tiled' } }).call.variant).toBe('plain');
    expect(() => choose({ force: { k: 'tiled-7x7' } })).toThrow(
      expect.objectContaining({
        code: 'bad-argument',
        message: expect.stringContaining("k has no variant 'tiled-7x7' on this device"),
        mend: 'Available: tiled, per-16, plain, tiled-8x16, tiled-32x4, per-16-2.',
      }),
    );
  });

  it('of several passes under one name is each measured by itself', () => {
    const caps = { tuned: { 'k rows 4': 'rows, plain' } };
    const of = (pass: string) =>
      chosenVariant<Shape>(caps, 'k', names, { pass, shape: '4', candidates, usual: candidates[0] as Shape });
    expect(of('rows').call.variant).toBe('rows, plain');
    expect(of('keys').call).toMatchObject({ variant: 'keys, tiled-8x16', tunable: { key: 'k keys 4' } });
  });

  it('of kinds alone is a kind', () => {
    const plain = plainVariants(['variants.test'], ['a', 'b']);
    expect(plain.choose({}, 'k', '4', 'b')).toMatchObject({ kind: 'b', call: { variant: 'b' } });
    expect(plain.choose({ force: { k: 'a' } }, 'k', '4', 'b').kind).toBe('a');
    expect(() => plain.choose({ force: { k: 'a' } }, 'k', '4', 'b', ['b'])).toThrow(/Available: b\./);
  });
});
