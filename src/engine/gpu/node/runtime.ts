/** What Node, Bun and Deno do not do alike: loading a shared library, and variables that native code is to see. */
import { createRequire } from 'node:module';
import { constants } from 'node:os';

/** A runtime's name and version, by what `process.versions` has: Bun and Deno also give the version of the Node that they stand for. */
export function runtimeOf(versions: Readonly<Record<string, string | undefined>>): string {
  const { bun, deno, node } = versions;
  return bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node v${node}`;
}

type Native = (...args: unknown[]) => unknown;
/** Bun's module `bun:ffi`, as far as it is used here. */
interface BunFfi {
  dlopen(
    file: string,
    symbols: Readonly<Record<string, { args: readonly string[]; returns: string }>>,
  ): { readonly symbols: Readonly<Record<string, Native>> };
}
/** Deno's global, as far as it is used here. */
interface DenoFfi {
  dlopen(file: string, symbols: Readonly<Record<string, never>>): unknown;
}

const bun = (): BunFfi => createRequire(import.meta.url)('bun:ffi') as BunFfi;
const RTLD_NODELETE = 0x1000;
/** Of Bun and Deno the handles: what they load stays for as long as these do. */
const loaded = new Map<string, unknown>();

/**
 * Loads a shared library into this process for good, so that a later `dlopen(name)` of others finds it by its SONAME wherever it lies:
 * no LD_LIBRARY_PATH, which could not be changed from within. `process.dlopen` wants an addon. Node complains that the library is none
 * and closes it again, which RTLD_NODELETE makes harmless; any other complaint is a real failure. Bun and Deno complain in words
 * of their own and do not heed the flag, but both can load a library that is no addon.
 * @param symbol a function that the library has
 */
export function loadLibrary(file: string, symbol: string): boolean {
  if (loaded.has(file)) return true;
  const { bun: isBun, deno: isDeno } = process.versions;
  try {
    if (isBun) loaded.set(file, bun().dlopen(file, { [symbol]: { args: [], returns: 'ptr' } }));
    else if (isDeno) loaded.set(file, (globalThis as unknown as { Deno: DenoFfi }).Deno.dlopen(file, {}));
    else {
      const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
      process.dlopen({ exports: {} }, file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    }
    return true;
  } catch (error) {
    return error instanceof Error && /did not self-register/i.test(error.message);
  }
}

let libc: Readonly<Record<string, Native>> | undefined;

/**
 * Sets a variable of this process, or takes it away. Node's and Deno's `process.env` is the C library's environment, where a Vulkan
 * loader looks; Bun's is a copy that no native code sees.
 */
export function setVariable(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
  // Only Linux's Vulkan loader is told anything by variables.
  if (!process.versions.bun || process.platform !== 'linux') return;
  libc ??= bun().dlopen('libc.so.6', {
    setenv: { args: ['cstring', 'cstring', 'i32'], returns: 'i32' },
    unsetenv: { args: ['cstring'], returns: 'i32' },
  }).symbols;
  const text = (of: string) => Buffer.from(`${of}\0`);
  if (value === undefined) libc.unsetenv?.(text(name));
  else libc.setenv?.(text(name), text(value), 1);
}
