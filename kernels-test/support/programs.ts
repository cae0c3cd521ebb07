/** The devices that are planned for where none is at hand, and what the models ask of each: every dispatch of every configuration. */
import type { Graph } from '../../src/engine/graph/graph.js';
import { planGraph } from '../../src/engine/graph/plan.js';
import type { KernelCall } from '../../src/engine/kernels/call.js';
import type { Capabilities } from '../../src/engine/kernels/capabilities.js';
import { losses } from '../../src/nn/loss.js';
import { defaultSgpm, type ModelConfig } from '../../src/sam/config.js';
import { decoderGraph, encoderGraph } from '../../src/sam/sam-med3d.js';
import { trainingGraph } from '../../src/training/graph.js';

export const base: Capabilities = {
  software: false,
  subgroupSize: 0,
  maxWorkgroupStorage: 16384,
  maxInvocations: 256,
  maxWorkgroups: 65535,
};
/** WebGPU's defaults as a GPU and as a CPU, with each subgroup size in use, and with more shared memory. */
export const devices: Capabilities[] = [
  base,
  { ...base, software: true },
  ...[4, 8, 16, 32, 64].map((subgroupSize) => ({ ...base, software: true, subgroupSize })),
  { ...base, subgroupSize: 32, maxWorkgroupStorage: 49152, maxInvocations: 1024 },
  // With tensor cores, as NVIDIA's, Intel's and lavapipe's are, in much workgroup memory and in the least.
  ...([49152, 16384] as const).flatMap((maxWorkgroupStorage) => [
    { ...base, subgroupSize: 32, subgroupMatrix: [16, 16, 16] as const, maxWorkgroupStorage },
    { ...base, subgroupSize: 16, subgroupMatrix: [8, 16, 16] as const, maxWorkgroupStorage },
    { ...base, subgroupSize: 8, subgroupMatrix: [8, 8, 8] as const, maxWorkgroupStorage },
  ]),
  { ...base, software: true, subgroupSize: 4, maxWorkgroupStorage: 32768 },
  { ...base, software: true, subgroupSize: 16, maxWorkgroupStorage: 32768 },
  // Forced variants: a GPU made to use what CPUs prefer, and the other way round.
  {
    ...base,
    force: {
      matmul: 'register',
      conv3d: 'register',
      conv_transpose: 'register',
      layer_norm: 'row-per-invocation',
    },
  },
  {
    ...base,
    software: true,
    force: { matmul: 'tiled', conv3d: 'tiled', conv_transpose: 'tiled', layer_norm: 'row-per-workgroup' },
  },
];

export type AnyCall = KernelCall<unknown>;

/** A training step of everything and one of what is trained by default, with every loss term. */
export function trainingCalls(config: ModelConfig, caps: Capabilities): AnyCall[] {
  const full = { ...config, sgpm: defaultSgpm(config) };
  const loss = { ...losses['dice-ce'], focal: 1, iou: 1 };
  const graphs = [
    trainingGraph(full, { points: 2, mask: true, loss, trainable: () => true }),
    trainingGraph(full, {
      points: 3,
      mask: false,
      batch: 2,
      loss,
      trainable: (name) => !name.startsWith('image_encoder'),
    }),
  ];
  return [...graphs.map(({ graph }) => graph), budgeted(config)].flatMap((graph) => [
    ...planGraph(graph, caps).calls,
  ]);
}

/** A step whose gates are for branches and held to a budget (SPEC E2). */
export const budgeted = (config: ModelConfig): Graph =>
  trainingGraph(
    { ...config, sgpm: { ...defaultSgpm(config), gate: 'branch' } },
    { points: 2, mask: true, loss: losses.zoom, budget: true, trainable: () => true },
  ).graph;

export function modelCalls(config: ModelConfig, caps: Capabilities): AnyCall[] {
  const sgpm = defaultSgpm(config);
  const graphs = [
    encoderGraph(config),
    encoderGraph({ ...config, sgpm }, { batch: 2, trace: 'all' }),
    encoderGraph({ ...config, sgpm: { ...sgpm, width: 5, dilations: [1, 2, 3, 6] } }),
    decoderGraph(config, { points: 2, mask: true, upsample: true }),
    decoderGraph(config, { points: 0, mask: true, trace: 'all' }),
    decoderGraph(config, { points: 12, mask: false, batch: 3 }),
  ];
  return graphs.flatMap((graph) => [...planGraph(graph, caps).calls]);
}
