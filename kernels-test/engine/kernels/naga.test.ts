/** What each shader asks of a device is listed, and what naga is there to find is found: the texts themselves are in compile.test.ts. */
import { describe, expect, it } from 'vitest';
import { enabledBy, isBeyondNaga, throughNaga } from '../../support/naga.js';
import { everyShader } from '../../support/shaders.js';

/** The files of shaders/ that are not of the base tier, and what they enable. */
const ENABLES: Readonly<Record<string, readonly string[]>> = {
  attention_backward_keys_block: ['subgroups'],
  attention_backward_keys_subgroup: ['subgroups'],
  attention_backward_rows_subgroup: ['subgroups'],
  attention_block: ['subgroups'],
  attention_matrix: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
  attention_tokens: ['subgroups'],
  attention_subgroup: ['subgroups'],
  ceiling_fma: ['f16'], // only where the device has it: behind //#if
  matmul_matrix: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
  matmul_subgroup: ['subgroups'],
};

/** Files that enable what their line of the list does not have, or the other way round. */
function unlisted(sources: readonly { readonly name: string; readonly text: string }[]): string[] {
  return sources.flatMap(({ name, text }) => {
    const [found, listed] = [enabledBy(text), ENABLES[name] ?? []].map((all) => [...all].sort().join(', '));
    return found === listed
      ? []
      : [`${name}.wgsl enables ${found || 'nothing'}, listed: ${listed || 'nothing'}`];
  });
}

/** The sum of a buffer's first elements, by which a fault is planted. */
const text = (enable: string, statement: string) => `${enable}
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
  ${statement}
}`;

describe('what shaders enable', () => {
  it('is listed, shader by shader', () => {
    expect(everyShader.length).toBeGreaterThan(60);
    expect(unlisted(everyShader)).toEqual([]);
    const names = new Set(everyShader.map(({ name }) => name));
    expect(Object.keys(ENABLES).filter((name) => !names.has(name))).toEqual([]);
  });

  it('a planted directive is told of', () => {
    const planted = everyShader.map((source) =>
      source.name === 'matmul_tiled' ? { ...source, text: `enable subgroups;\n${source.text}` } : source,
    );
    expect(unlisted(planted)).toEqual(['matmul_tiled.wgsl enables subgroups, listed: nothing']);
  });
});

describe('naga', () => {
  it('writes MSL, HLSL and SPIR-V of what is right', () => {
    for (const code of [
      text('', 'y[i] = sqrt(y[i]);'),
      text('enable subgroups;', 'y[i] = subgroupAdd(y[i]);'),
      text('enable f16;', 'y[i] = f32(f16(y[i]));'),
    ]) {
      const written = throughNaga(code);
      expect(written).toMatchObject({ msl: expect.any(Number) });
      for (const bytes of Object.values(written)) expect(bytes).toBeGreaterThan(100);
    }
  });

  it.each([
    ['a type', text('', 'y[i] = 1u;'), /validation|parse/],
    ['a name', text('', 'y[i] = z[i];'), /no definition in scope for identifier: `z`/],
    [
      'an enable that it does not have',
      text('enable chromium_experimental_subgroup_matrix;', 'y[i] = 1.0;'),
      /enable/,
    ],
  ])('finds %s that is wrong', (_, code, words) => {
    expect(throughNaga(code)).toMatch(words);
  });

  it('is not asked about matrices of subgroups', () => {
    expect(isBeyondNaga(text('enable chromium_experimental_subgroup_matrix;', 'y[i] = 1.0;'))).toBe(true);
    expect(isBeyondNaga(text('enable subgroups;', 'y[i] = 1.0;'))).toBe(false);
  });
});
