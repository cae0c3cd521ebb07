/** What the engine is to those who build on it; `sgp-sam/engine` adds opening a device and training. */
export { gradientOutputs, gradients } from './autograd/gradients.js';
export { recompute } from './autograd/recompute.js';
export type { AdapterChoice, AdapterReport, Gpu, OpenDeviceOptions, Tier } from './gpu/device.js';
export { type BufferSlice, Engine } from './gpu/engine.js';
export { Graph } from './graph/graph.js';
export {
  type DType,
  type Gradients,
  isOp,
  type Lowering,
  type Node,
  type Op,
  type Operand,
  type Operands,
  type Region,
  type Rule,
  type Shape,
  type Size3,
  sizeOf,
  type Tensor,
  type Wants,
} from './graph/ir.js';
export type { ParameterLayout, ParameterSpec } from './graph/layout.js';
export { apply, defineOp, needLength, operations, regional } from './graph/op.js';
export { ParameterStore } from './graph/parameters.js';
export { type Plan, planGraph } from './graph/plan.js';
export { type CompileOptions, Program } from './graph/program.js';
export type { GateSetting, RegionMode, RegionReport } from './graph/regions.js';
export type { RunOptions, RunReport } from './graph/run.js';
export type { Activation } from './kernels/activation.js';
export {
  type Cost,
  ceilDiv,
  type KernelCall,
  spread,
  THREADS,
  type Tunable,
  type Workgroups,
} from './kernels/call.js';
export { type Capabilities, capabilitiesOf, type DeviceFacts, factsOf } from './kernels/capabilities.js';
export { type Choices, type SubgroupChoices, usualWeights, type WeightStorage } from './kernels/rules.js';
export {
  type Choice,
  type Chosen,
  chosenVariant,
  defineVariants,
  type PlainVariants,
  plainVariants,
  sizedNames,
  type Variant,
  type VariantFamily,
  type VariantSizes,
} from './kernels/variants.js';
export { type Defines, type Shader, type ShaderSource, shader } from './kernels/wgsl.js';
/** Every operation: functions of tensors. */
export * as ops from './ops/index.js';
export type { MatmulSpec } from './ops/matmul.js';
export {
  type MatmulTile,
  type MatmulVariantDefinition,
  registerMatmulVariant,
} from './ops/matmul-variants.js';
export * from './profiler/index.js';
export * from './profiler/own-kernel.js';
