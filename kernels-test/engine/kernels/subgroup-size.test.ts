/** Devices whose subgroups have a range of sizes (AMD's, Intel's): kernels are fixed to one, and no rule is moved by it. */
import { describe, expect, it } from 'vitest';
import type { Gpu, Tier } from '../../../src/engine/gpu/device.js';
import { type Capabilities, capabilitiesOf } from '../../../src/engine/kernels/capabilities.js';
import { samMed3DConfigs } from '../../../src/sam/config.js';
import { base, modelCalls, trainingCalls } from '../../support/programs.js';

const tier = (changes: Partial<Tier>): Tier => ({
  f16: true,
  subgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 64,
  subgroupSizeControl: true,
  timestamps: true,
  subgroupMatrices: [],
  ...changes,
});
const limits = { maxComputeWorkgroupStorageSize: 32768, maxComputeInvocationsPerWorkgroup: 1024 };
const known = (changes: Partial<Tier>): Capabilities =>
  capabilitiesOf({ gpu: { tier: tier(changes), limits, adapter: { kind: 'hardware' } } as unknown as Gpu });

/** What RDNA's devices are planned for. */
const ranged: Capabilities = { ...base, subgroupSize: 32, fixSubgroups: true, maxInvocations: 1024 };
const callsOf = (caps: Capabilities) => [
  ...modelCalls(samMed3DConfigs.tiny, caps),
  ...trainingCalls(samMed3DConfigs.tiny, caps),
];

describe('the size of subgroups', () => {
  it.each([
    ['the one there is', { subgroupMinSize: 64 }, { subgroupSize: 64 }],
    ['fixed to 32 where there are several', {}, { subgroupSize: 32, fixSubgroups: true }],
    [
      'also of Intel’s',
      { subgroupMinSize: 8, subgroupMaxSize: 32 },
      { subgroupSize: 32, fixSubgroups: true },
    ],
    ['not known where it cannot be fixed', { subgroupSizeControl: false }, { subgroupSize: 0 }],
    ['none without subgroups', { subgroups: false }, { subgroupSize: 0 }],
  ])('is %s', (_, changes, expected) => {
    const { subgroupSize, fixSubgroups } = known(changes);
    expect({ subgroupSize, ...(fixSubgroups ? { fixSubgroups } : {}) }).toEqual(expected);
  });

  it('is asked for by every text of subgroups, and divides its workgroup; by no other', () => {
    const forced = {
      ...ranged,
      force: { matmul: 'subgroup', conv3d: 'subgroup', conv_transpose: 'subgroup' },
    };
    const texts = [...new Map(callsOf(forced).map(({ shader }) => [shader.code, shader.name]))];
    const ours = texts.filter(([code]) => /enable subgroups;/.test(code));
    expect(ours.length).toBeGreaterThan(5);
    for (const [code, name] of ours) {
      expect(code, name).toMatch(/enable subgroups;\nenable subgroup_size_control;/);
      const [, size, width] = /@compute @subgroup_size\((\d+)\) @workgroup_size\((\d+)/.exec(code) ?? [];
      expect(Number(width) % Number(size), name).toBe(0);
      expect(size, name).toBe('32');
    }
    const others = texts.filter(([code]) => !/enable subgroups;/.test(code));
    expect(others.length).toBeGreaterThan(5);
    for (const [code, name] of others) expect(code, name).not.toMatch(/subgroup_size/);
  });

  it('moves no rule: what is picked is what is picked without subgroups', () => {
    const picked = (caps: Capabilities) => new Set(callsOf(caps).map(({ shader }) => shader.code));
    const { subgroupSize: _, fixSubgroups: __, ...rest } = ranged;
    expect(picked(ranged)).toEqual(picked({ ...rest, subgroupSize: 0 }));
  });
});
