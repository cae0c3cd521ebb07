/** What a compiler made of a kernel, in numbers that people and budgets compare. */
import { type Column, fixed, type Table, tableOf } from '../../../base/table.js';
import type { Compiled } from './null-gpu.js';

/** Registers are a thread's; counts of instructions are those in the text, whatever loops they stand in. */
export interface KernelFigures {
  /** Invocations in a subgroup as compiled. */
  readonly subgroupSize: number;
  readonly vgprs: number;
  readonly sgprs: number;
  readonly spilledVgprs: number;
  readonly spilledSgprs: number;
  /** Workgroup memory, bytes. */
  readonly lds: number;
  /** Subgroups that a SIMD can have at once: of 16 with 64 invocations or 32 with 32 on RDNA, of 8 to 10 on GCN. */
  readonly waves: number;
  /** Bytes of machine code. */
  readonly code: number;
  /** Loads of 16 bytes from workgroup memory, and shorter ones. */
  readonly lds16: number;
  readonly lds4: number;
  /** Loads of 16 bytes from buffers, and shorter ones; what is one for the whole subgroup does not count. */
  readonly buffer16: number;
  readonly buffer4: number;
  readonly multiplyAdds: number;
  /** Products of subgroup matrices. */
  readonly matrices: number;
}

/** Instructions of ACO's own text, which names them alike for all families. */
const INSTRUCTION = /^\t(?:[^=\n]*= )?([a-z]\w*)/gm;
const KINDS = {
  lds16: /^ds_read(_b128|2(st64)?_b64)$/,
  lds4: /^ds_read/,
  buffer16: /^(buffer|global|flat)_load_dwordx4$/,
  buffer4: /^(buffer|global|flat|image|scratch)_load/,
  multiplyAdds: /^v_(pk_)?(fma|fmac|mad|mac)(ak|mk|_mix(lo|hi)?)?_f(16|32)$/,
  matrices: /^v_s?wmma/,
} as const;

type Kind = keyof typeof KINDS;
const kinds = Object.entries(KINDS) as [Kind, RegExp][];

function countsOf(text: string): Record<Kind, number> {
  const counts: Record<Kind, number> = {
    lds16: 0,
    lds4: 0,
    buffer16: 0,
    buffer4: 0,
    multiplyAdds: 0,
    matrices: 0,
  };
  for (const [, name = ''] of text.matchAll(INSTRUCTION)) {
    const kind = kinds.find(([, pattern]) => pattern.test(name))?.[0];
    if (kind) counts[kind]++;
  }
  return counts;
}

/** @param rdna whether the family is of RDNA, where a SIMD's waves are counted as if they all had 32 invocations */
export function figuresOf({ subgroupSize, statistics, texts }: Compiled, rdna: boolean): KernelFigures {
  const of = (name: string): number => statistics[name] ?? Number.NaN;
  const waves = of('Subgroups per SIMD');
  return {
    subgroupSize,
    vgprs: of('VGPRs'),
    sgprs: of('SGPRs'),
    spilledVgprs: of('Spilled VGPRs'),
    spilledSgprs: of('Spilled SGPRs'),
    lds: of('LDS size'),
    waves: rdna && subgroupSize === 64 ? Math.floor(waves / 2) : waves,
    code: of('Code size'),
    ...countsOf(texts['ACO IR'] ?? ''),
  };
}

/** A kernel as it was compiled, by what it is called. */
export interface CompiledKernel {
  readonly kernel: string;
  readonly variant: string;
  readonly figures: KernelFigures;
}

const count = (name: string, unit?: string): Column => ({ name, unit });

/** A row a kernel. */
export const figuresTable = (kernels: readonly CompiledKernel[]): Table =>
  tableOf(kernels, ({ kernel, variant, figures: f }) => [
    ['kernel', kernel],
    ['variant', variant],
    [count('subgroup'), f.subgroupSize],
    [count('VGPR'), f.vgprs],
    [count('SGPR'), f.sgprs],
    [count('spilled'), f.spilledVgprs + f.spilledSgprs],
    [fixed('LDS', 1, 'KiB'), f.lds / 1024],
    [count('waves'), f.waves],
    [fixed('code', 1, 'KiB'), f.code / 1024],
    [count('LDS loads of 16 B'), f.lds16],
    [count('shorter'), f.lds4],
    [count('buffer loads of 16 B'), f.buffer16],
    [count('shorter'), f.buffer4],
    [count('multiply-adds'), f.multiplyAdds],
    [{ name: 'matrices', optional: true }, f.matrices || null],
  ]);
