// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is the shaders' own notation.
import { describe, expect, it } from 'vitest';
import {
  type Defines,
  packParams,
  type ShaderSource,
  shader,
  specialise,
} from '../../../src/engine/kernels/wgsl.js';
import { shaderSources } from '../../support/shaders.js';

const lines = (...text: string[]) => text.join('\n');
const sourceOf = (text: string, includes: Record<string, string> = {}, name = 'test'): ShaderSource => ({
  name,
  text,
  includes: Object.fromEntries(
    Object.entries(includes).map(([file, part]) => [file, sourceOf(part, {}, file)]),
  ),
});
const expand = (source: string, defines: Defines = {}, includes: Record<string, string> = {}) =>
  specialise(sourceOf(source, includes), defines).code.split('\n');
const failing = (message: RegExp) =>
  expect.objectContaining({ code: 'bad-graph', message: expect.stringMatching(message) });

describe('specialising a shader', () => {
  it('leaves text without directives alone', () => {
    const source = lines('// a comment with $ and {braces}', 'fn f() { return 1; }', '');
    expect(expand(source)).toEqual(source.split('\n'));
  });

  it('puts values in: numbers as they are, booleans as 1 and 0, next to letters too', () => {
    expect(expand('const A = $Nu; f($N_2, $FLAG, $OFF);', { N: 3, N_2: 7, FLAG: true, OFF: false })).toEqual([
      'const A = 3u; f(7, 1, 0);',
    ]);
  });

  const choice = lines('//#if A', 'a', '//#else', 'not a', '//#end', 'after');
  it.each([
    [{ A: true }, ['a', 'after']],
    [{ A: 5 }, ['a', 'after']],
    [{ A: false }, ['not a', 'after']],
    [{ A: 0 }, ['not a', 'after']],
    [{}, ['not a', 'after']],
  ])('//#if with %o', (defines, want) => {
    expect(expand(choice, defines as Defines)).toEqual(want);
    const swapped = choice.replace('#if A', '#if !A').replace('a\n//#else\nnot a', 'not a\n//#else\na');
    expect(expand(swapped, defines as Defines)).toEqual(want);
  });

  it('//#if without //#else keeps nothing when it does not hold', () => {
    expect(expand(lines('x', '  //#if NO', 'y', '  //#end', 'z'))).toEqual(['x', 'z']);
  });

  it('nests: an //#else belongs to the innermost open //#if', () => {
    const source = lines(
      '//#if A',
      '//#if B',
      'ab',
      '//#else',
      'a',
      '//#end',
      '//#else',
      '//#if B',
      'b',
      '//#else',
      '-',
      '//#end',
      '//#end',
    );
    const of = (A: boolean, B: boolean) => expand(source, { A, B }).join();
    expect([of(true, true), of(true, false), of(false, true), of(false, false)]).toEqual([
      'ab',
      'a',
      'b',
      '-',
    ]);
  });

  it('does not look into what it drops', () => {
    expect(
      expand(
        lines(
          '//#if NO',
          '$UNKNOWN',
          '//#include nowhere.wgsl',
          '//#unroll i MANY',
          '//#end',
          '//#end',
          'ok',
        ),
      ),
    ).toEqual(['ok']);
  });

  it('unrolls by a number or a name, nested, with conditions inside and the variable in names', () => {
    expect(expand(lines('//#unroll i 2', 'let x_${i} = ${i}u;', '//#end'))).toEqual([
      'let x_0 = 0u;',
      'let x_1 = 1u;',
    ]);
    const nested = lines(
      '//#unroll i N',
      '//#unroll j 2',
      '//#if DOT',
      '${i}.${j}',
      '//#else',
      '${i}-${j}',
      '//#end',
      '//#end',
      '//#end',
    );
    expect(expand(nested, { N: 2, DOT: true })).toEqual(['0.0', '0.1', '1.0', '1.1']);
    expect(expand(nested, { N: 1 })).toEqual(['0-0', '0-1']);
    expect(expand(lines('a', '//#unroll i 0', 'b', '//#end', 'c'))).toEqual(['a', 'c']);
  });

  it('lets a loop variable end with its loop', () => {
    expect(() => expand(lines('//#unroll i 2', '//#end', 'x_${i}'))).toThrow(
      failing(/\$\{i\} is not defined/),
    );
  });

  it('includes files, specialised with the same values, even inside loops', () => {
    const includes = { 'part.wgsl': lines('//#if BIG', 'big $N ${i}', '//#else', 'small', '//#end') };
    expect(
      expand(lines('//#unroll i 2', '//#include part.wgsl', '//#end'), { BIG: true, N: 9 }, includes),
    ).toEqual(['big 9 0', 'big 9 1']);
    expect(expand('//#include part.wgsl', {}, includes)).toEqual(['small']);
  });

  it('includes a file with values of its own, which end with it', () => {
    const includes = { 'part.wgsl': 'fn load_$WHAT() { return $OF + ${i}; }' };
    const source = lines('//#unroll i 2', '//#include part.wgsl WHAT=q OF=$BUFFER', '//#end', '$BUFFER');
    expect(expand(source, { BUFFER: 'b' }, includes)).toEqual([
      'fn load_q() { return b + 0; }',
      'fn load_q() { return b + 1; }',
      'b',
    ]);
    expect(() =>
      expand(lines('//#unroll i 1', '//#include part.wgsl WHAT=q OF=1', '//#end', '$WHAT'), {}, includes),
    ).toThrow(failing(/line 4: \$WHAT is not defined/));
    expect(() => expand('//#include part.wgsl what', {}, includes)).toThrow(
      failing(/'what' is not NAME=value/),
    );
  });

  it.each([
    ['an unknown name', lines('a', 'b', '$NOPE'), /shader test, line 3: \$NOPE is not defined/],
    ['an unknown loop variable', 'x_${k}', /line 1: \$\{k\} is not defined/],
    ['an //#if that is never closed', lines('a', '//#if X', 'b'), /line 2: .*no \/\/#end/],
    [
      'an //#unroll that is never closed',
      lines('//#unroll i 2', '//#if A', '//#end'),
      /line 1: .*no \/\/#end/,
    ],
    ['an //#end too many', lines('a', '//#end'), /line 2: \/\/#end is out of place/],
    ['an //#else of nothing', lines('//#else'), /line 1: \/\/#else is out of place/],
    [
      'two //#else of one //#if',
      lines('//#if !A', 'a', '//#else', 'b', '//#else', 'c', '//#end'),
      /\/\/#else is out of place/,
    ],
    ['a directive there is not', lines('//#elif A', '//#end'), /line 1: \/\/#elif is out of place/],
    ['a file that is not there', lines('', '//#include gone.wgsl'), /line 2: no file gone\.wgsl to include/],
    ['a count that is no number', lines('//#unroll i MANY', '//#end'), /line 1: cannot unroll 'i MANY'/],
    ['no count at all', lines('//#unroll i', '//#end'), /line 1: cannot unroll 'i'/],
    ['half a count', lines('//#unroll i 2.5', '//#end'), /line 1: cannot unroll 'i 2\.5'/],
  ])('names shader and line of %s', (_, source, message) => {
    expect(() => expand(source)).toThrow(failing(message));
  });

  it('names the included file and the line in it', () => {
    const includes = { 'part.wgsl': lines('ok', '$GONE') };
    expect(() => expand(lines('a', 'b', 'c', '//#include part.wgsl'), {}, includes)).toThrow(
      failing(/shader part\.wgsl, line 2: \$GONE is not defined/),
    );
  });

  it.each([
    ['//#if', lines('a', '//#if !NO', 'b', '$GONE', '//#end')],
    ['//#else', lines('//#if NO', '//#else', 'a', '$GONE', '//#end')],
    ['//#unroll', lines('a', '//#unroll i 2', '${i}', '$GONE', '//#end')],
  ])('counts lines from the start of the file inside %s too', (_, source) => {
    expect(() => expand(source)).toThrow(failing(/line 4: \$GONE/));
  });

  it('reads bindings and parameters back from what was kept', () => {
    const source = lines(
      'struct Params {',
      '  rows: u32, shift: i32, // k: f32 is a comment',
      '  //#if EPS',
      '  eps: f32,',
      '  //#end',
      '}',
      '@group(0) @binding(0) var<uniform> p: Params;',
      '@group(0) @binding(1) var<storage, read> x: array<f32>;',
      '//#if BIAS',
      '@group(0) @binding(2) var<storage, read> bias: array<vec4f>;',
      '//#end',
      '@group(0) @binding(3) var<storage, read_write> y: array<atomic<u32>>;',
    );
    const all = specialise(sourceOf(source), { EPS: 1, BIAS: 1 });
    expect(all.params).toEqual([
      { name: 'rows', type: 'u32' },
      { name: 'shift', type: 'i32' },
      { name: 'eps', type: 'f32' },
    ]);
    expect(all.bindings).toEqual([
      { binding: 1, access: 'read', name: 'x' },
      { binding: 2, access: 'read', name: 'bias' },
      { binding: 3, access: 'read_write', name: 'y' },
    ]);
    const few = specialise(sourceOf(source), {});
    expect(few.params.map((f) => f.name)).toEqual(['rows', 'shift']);
    expect(few.bindings.map((b) => b.name)).toEqual(['x', 'y']);
  });

  it('hands out one object for the same defines', () => {
    const source = sourceOf('const M = $M;');
    expect(shader(source, { M: 4 })).toBe(shader(source, { M: 4 }));
    expect(shader(source, { M: 4 })).not.toBe(shader(source, { M: 3 }));
    expect(shader(sourceOf('const M = $M;'), { M: 4 })).not.toBe(shader(source, { M: 4 }));
  });

  it('every shader of ours that needs defines says so instead of compiling without', () => {
    for (const source of shaderSources) {
      const { name } = source;
      try {
        expect(shader(source).code, name).not.toMatch(/\/\/#|\$[A-Z{]/);
      } catch (error) {
        expect(error, name).toEqual(failing(/is not defined|cannot unroll/));
      }
    }
  });
});

describe('packing parameters', () => {
  const make = (fields: string) => specialise(sourceOf(`struct Params { ${fields} }`, {}, 'pack'));

  it('lays fields out in order, little-endian, padded to 16 bytes', () => {
    const bytes = packParams(make('a: u32, b: f32, c: i32, d: u32, e: u32'), {
      e: 5,
      d: 0xffffffff,
      c: -2,
      b: -0.5,
      a: 1,
    });
    expect(bytes.length).toBe(32);
    const view = new DataView(bytes.buffer);
    expect(view.getUint32(0, true)).toBe(1);
    expect(view.getFloat32(4, true)).toBe(-0.5);
    expect(view.getInt32(8, true)).toBe(-2);
    expect(view.getUint32(12, true)).toBe(0xffffffff);
    expect(view.getUint32(16, true)).toBe(5);
    expect([...bytes.subarray(20)]).toEqual(new Array(12).fill(0));
    expect(packParams(make('a: u32'), { a: 0 }).length).toBe(16);
  });

  it.each([
    ['one missing', 'a: u32, b: u32', { a: 1 }, /shader pack: no value for 'b'/],
    ['one too many', 'a: u32', { a: 1, rows: 2, n: 3 }, /shader pack has no parameter rows, n/],
    ['a fraction for u32', 'a: u32', { a: 1.5 }, /shader pack: a = 1\.5 is not a u32/],
    ['a negative u32', 'a: u32', { a: -1 }, /a = -1 is not a u32/],
    ['a u32 over 32 bits', 'a: u32', { a: 2 ** 32 }, /a = 4294967296 is not a u32/],
    ['NaN for u32', 'a: u32', { a: Number.NaN }, /a = NaN is not a u32/],
    ['a fraction for i32', 'a: i32', { a: -0.5 }, /a = -0\.5 is not a i32/],
    ['an i32 below its range', 'a: i32', { a: -(2 ** 31) - 1 }, /is not a i32/],
    ['an i32 above its range', 'a: i32', { a: 2 ** 31 }, /is not a i32/],
  ])('refuses %s', (_, fields, values, message) => {
    expect(() => packParams(make(fields), values as Record<string, number>)).toThrow(failing(message));
  });

  it('takes any number for f32, and the ends of the integer ranges', () => {
    const view = (fields: string, values: Record<string, number>) =>
      new DataView(packParams(make(fields), values).buffer);
    expect(view('a: f32', { a: Number.NEGATIVE_INFINITY }).getFloat32(0, true)).toBe(
      Number.NEGATIVE_INFINITY,
    );
    expect(view('a: i32', { a: -(2 ** 31) }).getInt32(0, true)).toBe(-(2 ** 31));
    expect(view('a: u32', { a: 2 ** 32 - 1 }).getUint32(0, true)).toBe(2 ** 32 - 1);
  });
});
