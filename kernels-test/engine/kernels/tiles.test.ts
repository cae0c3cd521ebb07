/** Which tile of matmul the rule takes: by the processor under a CPU adapter, and by the shape. */
import { describe, expect, it } from 'vitest';
import { longLoopsOf } from '../../../src/engine/gpu/node/processor.js';
import type { Capabilities } from '../../../src/engine/kernels/capabilities.js';
import type { MatmulSpec } from '../../../src/engine/ops/matmul.js';
import { matmulNames, usualMatmul } from '../../../src/engine/ops/matmul-variants.js';

const processor = (vendor: string, family: number) =>
  `processor\t: 0\nvendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: 1\n`;

describe('long loops', () => {
  it('are cheap on a Zen 5, and not on a Zen 3, an Intel, or what is unknown', () => {
    expect(longLoopsOf(processor('AuthenticAMD', 26))).toBe(true);
    expect(longLoopsOf(processor('AuthenticAMD', 25))).toBe(false);
    expect(longLoopsOf(processor('GenuineIntel', 6))).toBe(false);
    expect(longLoopsOf('')).toBe(false);
  });

  it('decide how many rows lavapipe’s tiles have, and not SwiftShader’s', () => {
    const caps = (subgroupSize: number, longLoops: boolean): Capabilities => ({
      software: true,
      subgroupSize,
      longLoops,
      maxWorkgroupStorage: 32768,
      maxInvocations: 256,
      maxWorkgroups: 65535,
    });
    const spec = { rows: 512, n: 128, k: 128 };
    const usual = (of: MatmulSpec, on: Capabilities) => matmulNames.nameOf(usualMatmul(of, on));
    expect(usual(spec, caps(8, true))).toBe('subgroup-32x1');
    expect(usual(spec, caps(8, false))).toBe('subgroup-16x1');
    expect(usual(spec, caps(4, true))).toBe('subgroup-16x1');
    // No more rows than there are.
    expect(usual({ ...spec, rows: 7 }, caps(8, true))).toBe('subgroup-8x1');
  });
});
