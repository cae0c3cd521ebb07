/**
 * The one mechanism by which TypeScript specialises a shader. A `.wgsl` file reads on its own; four line
 * directives, all of them WGSL comments, and `$NAME` cover what WGSL's own `override` cannot (declaring
 * bindings conditionally, unrolling into *named* accumulators, which compilers keep in registers):
 *
 *     //#if NAME            keep the lines up to //#else or //#end when NAME is defined and not 0 (also: !NAME)
 *     //#else
 *     //#unroll i COUNT     repeat the lines up to //#end with ${i} = 0 … COUNT−1 (COUNT a number or a name)
 *     //#include file.wgsl  another file of shaders/, itself specialised; ` NAME=value …` after it holds within that file alone
 *     $NAME                 the value of NAME (capitals); ${i} of a loop variable, ${i/N} and ${i%N} divided by N
 *
 * `Params` (the uniform block) and the other bindings are read back from the specialised text, so a
 * planner names fields and buffers, and a misspelt or forgotten one is an error, not a wrong offset.
 */
import { SgpSamError } from '../../base/errors.js';

/** Values for a text’s names: numbers, 1 or 0 for booleans, and texts as they stand. */
export type Defines = Readonly<Record<string, number | boolean | string>>;

/** A file of shaders/ as a module has it (tools/wgsl.mjs), with the files that it includes. */
export interface ShaderSource {
  /** Without the extension. */
  readonly name: string;
  readonly text: string;
  /** By the file's name, as `//#include` writes it. */
  readonly includes: Readonly<Record<string, ShaderSource>>;
}

/** A storage buffer's access, or a texture of unfiltered floats. */
export type BindingAccess = 'read' | 'read_write' | 'texture';

export interface ShaderBinding {
  readonly binding: number;
  readonly name: string;
  readonly access: BindingAccess;
}

export interface ParamField {
  readonly name: string;
  readonly type: 'u32' | 'i32' | 'f32';
}

/** A shader ready to compile: its text and what the text declares. */
export interface Shader {
  readonly name: string;
  readonly code: string;
  readonly bindings: readonly ShaderBinding[];
  readonly params: readonly ParamField[];
}

function fail(name: string, line: number, what: string): never {
  throw new SgpSamError('bad-graph', `shader ${name}, line ${line + 1}: ${what}`);
}

function substitute(line: string, values: Map<string, string>, name: string, at: number): string {
  const pattern = /\$\{(\w+)(?:([/%])(\w+))?\}|\$([A-Z][A-Z0-9_]*)/g;
  return line.replace(pattern, (whole, braced?: string, operator?: string, by?: string, plain?: string) => {
    const value = values.get((braced ?? plain) as string);
    if (value === undefined) fail(name, at, `${whole} is not defined`);
    if (by === undefined) return value;
    const divisor = Number(values.get(by) ?? by);
    if (!(divisor >= 1)) fail(name, at, `${whole} divides by ${by}`);
    return String(operator === '%' ? Number(value) % divisor : Math.floor(Number(value) / divisor));
  });
}

/** Index of the //#end (and //#else, if any) that closes the directive on line `start`. */
function findEnd(
  lines: readonly string[],
  start: number,
  name: string,
  offset: number,
): { otherwise: number; end: number } {
  let depth = 0;
  let otherwise = -1;
  for (let i = start + 1; i < lines.length; i++) {
    const directive = /^\s*\/\/#(\w+)/.exec(lines[i])?.[1];
    if (directive === 'if' || directive === 'unroll') depth++;
    else if (directive === 'else' && depth === 0) otherwise = i;
    else if (directive === 'end' && depth-- === 0) return { otherwise, end: i };
  }
  return fail(name, offset + start, 'the directive has no //#end');
}

/** Expands `lines`, the first of which is line `offset` (from 0) of its file. */
function expand(
  lines: readonly string[],
  values: Map<string, string>,
  source: Pick<ShaderSource, 'name' | 'includes'>,
  offset: number,
  out: string[],
): void {
  const { name, includes } = source;
  for (let i = 0; i < lines.length; i++) {
    const match = /^\s*\/\/#(\w+)\s*(.*?)\s*$/.exec(lines[i]);
    if (!match) {
      out.push(substitute(lines[i], values, name, offset + i));
      continue;
    }
    const [, directive, rest] = match;
    if (directive === 'include') {
      const [file, ...given] = rest.split(/\s+/);
      const included = includes[file];
      if (!included) fail(name, offset + i, `no file ${file} to include`);
      const inner = new Map(values);
      for (const one of given) {
        const [, key, value] =
          /^([A-Z][A-Z0-9_]*)=(\S+)$/.exec(one) ?? fail(name, offset + i, `'${one}' is not NAME=value`);
        inner.set(key, substitute(value, values, name, offset + i));
      }
      expand(
        included.text.split('\n'),
        given.length > 0 ? inner : values,
        { ...included, name: file },
        0,
        out,
      );
      continue;
    }
    if (directive !== 'if' && directive !== 'unroll')
      fail(name, offset + i, `//#${directive} is out of place`);
    const { otherwise, end } = findEnd(lines, i, name, offset);
    if (directive === 'if') {
      const negated = rest.startsWith('!');
      const value = values.get(negated ? rest.slice(1) : rest);
      const set = value !== undefined && value !== '0';
      const first = otherwise >= 0 ? otherwise : end;
      if (set !== negated) expand(lines.slice(i + 1, first), values, source, offset + i + 1, out);
      else if (otherwise >= 0)
        expand(lines.slice(otherwise + 1, end), values, source, offset + otherwise + 1, out);
    } else {
      if (otherwise >= 0) fail(name, offset + otherwise, '//#else is out of place');
      const [variable, countText] = rest.split(/\s+/);
      const count = Number(values.get(countText) ?? countText);
      if (!variable || !Number.isInteger(count))
        fail(
          name,
          offset + i,
          `cannot unroll '${rest}': //#unroll i COUNT, COUNT a number or a name without $`,
        );
      const inner = new Map(values);
      for (let n = 0; n < count; n++) {
        inner.set(variable, String(n));
        expand(lines.slice(i + 1, end), inner, source, offset + i + 1, out);
      }
    }
    i = end;
  }
}

/**
 * Specialises `source` for `defines`; booleans become 1 or 0, a string stands for itself (a built-in's name).
 * @throws SgpSamError `bad-graph` naming the shader and the line of an unknown name or unclosed directive.
 */
export function specialise(source: ShaderSource, defines: Defines = {}): Shader {
  const values = new Map(
    Object.entries(defines).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : String(Number(value)),
    ]),
  );
  const out: string[] = [];
  expand(source.text.split('\n'), values, source, 0, out);
  const code = out.join('\n');

  const bindings: ShaderBinding[] = [];
  const pattern = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)/g;
  for (const m of code.matchAll(pattern)) {
    bindings.push({ binding: Number(m[1]), access: m[2] as 'read' | 'read_write', name: m[3] });
  }
  for (const m of code.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var\s+(\w+)\s*:\s*texture_2d<f32>/g)) {
    bindings.push({ binding: Number(m[1]), access: 'texture', name: m[2] });
  }
  const params: ParamField[] = [];
  const struct = /struct Params\s*\{([^}]*)\}/.exec(code)?.[1] ?? '';
  for (const m of struct.replace(/\/\/.*$/gm, '').matchAll(/(\w+)\s*:\s*(u32|i32|f32)/g)) {
    params.push({ name: m[1], type: m[2] as ParamField['type'] });
  }
  return { name: source.name, code, bindings, params };
}

/**
 * A shader that uses subgroups, compiled for this size of them where a device has several; others as they are. The width of its
 * workgroups is a multiple of it already.
 */
export function withSubgroupSize(shader: Shader, size: number): Shader {
  if (!/^\s*enable subgroups;/m.test(shader.code)) return shader;
  const code = shader.code
    .replace(/enable subgroups;/, '$&\nenable subgroup_size_control;')
    .replace(/@compute/, `$& @subgroup_size(${size})`);
  return { ...shader, code };
}

/**
 * A text of one's own as a source, with the files that it includes found among those that `known` ones do.
 * @throws SgpSamError `bad-graph` naming an include that there is not
 */
export function withIncludesOf(name: string, text: string, known: readonly ShaderSource[]): ShaderSource {
  const files = new Map<string, ShaderSource>();
  const collect = ({ includes }: ShaderSource) => {
    for (const [file, source] of Object.entries(includes)) {
      files.set(file, source);
      collect(source);
    }
  };
  known.forEach(collect);
  const wanted = Array.from(text.matchAll(/^\s*\/\/#include\s+(\S+)/gm), ([, file]) => file as string);
  for (const file of wanted)
    if (!files.has(file))
      throw new SgpSamError(
        'bad-graph',
        `shader ${name}: no file ${file} to include`,
        `There are: ${[...files.keys()].join(', ')}.`,
      );
  return {
    name,
    text,
    includes: Object.fromEntries(wanted.map((file) => [file, files.get(file) as ShaderSource])),
  };
}

const cache = new WeakMap<ShaderSource, Map<string, Shader>>();

/** `source` specialised for these defines; the same object for the same defines. */
export function shader(source: ShaderSource, defines: Defines = {}): Shader {
  let known = cache.get(source);
  if (!known) {
    known = new Map();
    cache.set(source, known);
  }
  const key = JSON.stringify(defines);
  let found = known.get(key);
  if (!found) {
    found = specialise(source, defines);
    known.set(key, found);
  }
  return found;
}

/** The bytes of a shader's uniform block for the given field values, padded to 16. */
export function packParams(shader: Shader, values: Readonly<Record<string, number>>): Uint8Array {
  const bytes = new Uint8Array(Math.max(16, Math.ceil((shader.params.length * 4) / 16) * 16));
  const view = new DataView(bytes.buffer);
  const left = new Set(Object.keys(values));
  shader.params.forEach(({ name, type }, i) => {
    const value = values[name];
    if (value === undefined)
      throw new SgpSamError('bad-graph', `shader ${shader.name}: no value for '${name}'`);
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else if (
      !Number.isInteger(value) ||
      value < (type === 'u32' ? 0 : -(2 ** 31)) ||
      value >= (type === 'u32' ? 2 ** 32 : 2 ** 31)
    ) {
      throw new SgpSamError('bad-graph', `shader ${shader.name}: ${name} = ${value} is not a ${type}`);
    } else if (type === 'u32') view.setUint32(4 * i, value, true);
    else view.setInt32(4 * i, value, true);
    left.delete(name);
  });
  if (left.size > 0) {
    throw new SgpSamError('bad-graph', `shader ${shader.name} has no parameter ${[...left].join(', ')}`);
  }
  return bytes;
}
