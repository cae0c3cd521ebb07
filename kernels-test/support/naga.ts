/**
 * What Firefox, Deno and whatever else is made with wgpu say of a shader: naga, their compiler, as WebAssembly. It writes for each
 * system's own language, too: MSL for Metal, HLSL for Direct3D 12, SPIR-V for Vulkan.
 */
import { NagaError, parseWgsl, validate, writeHlsl, writeMsl, writeSpirv } from 'naga-wasm';

/** What a text enables. */
export const enabledBy = (code: string): string[] =>
  [...code.matchAll(/^\s*enable\s+([^;]*);/gm)].flatMap(([, names = '']) =>
    names.split(',').map((name) => name.trim()),
  );

/** naga knows subgroups without being asked, and does not know the directive; the matrices it does not know at all. */
export const SUBGROUPS = /^\s*enable\s+subgroups;\s*$/gm;
export const isBeyondNaga = (code: string): boolean => /enable chromium_/.test(code);

/** Bytes that naga writes of a text in each language. */
export interface Translated {
  readonly msl: number;
  readonly hlsl: number;
  readonly spirv: number;
}

/**
 * Validates and translates a text, without its `enable subgroups;` if it has one.
 * @returns what was written, or naga's words
 */
export function throughNaga(code: string): Translated | string {
  const owned: { free(): void }[] = [];
  try {
    const module = parseWgsl(code.replace(SUBGROUPS, ''));
    owned.push(module);
    const info = validate(module);
    owned.push(info);
    return {
      // Subgroups want Metal 2.1 and shader model 6.0, f16 wants 6.2.
      msl: writeMsl(module, info, { langVersion: [2, 4] }).length,
      hlsl: writeHlsl(module, info, { shaderModel: '6_2' }).length,
      spirv: writeSpirv(module, info).byteLength,
    };
  } catch (error) {
    if (error instanceof NagaError) return `${error.kind}: ${error.formatted}`;
    throw error;
  } finally {
    for (const one of owned) one.free();
  }
}
