/** Runs a small graph on the test device and hands back its outputs: what every kernel test is written with. */
import { Engine } from '../../src/engine/gpu/engine.js';
import { Graph } from '../../src/engine/graph/graph.js';
import type { Tensor } from '../../src/engine/graph/ir.js';
import { type ParameterLayout, type ParameterSpec, stackOf } from '../../src/engine/graph/layout.js';
import { ParameterStore } from '../../src/engine/graph/parameters.js';
import { Program } from '../../src/engine/graph/program.js';
import type { RegionReport } from '../../src/engine/graph/regions.js';
import type { RunOptions } from '../../src/engine/graph/run.js';
import { type Capabilities, capabilitiesOf } from '../../src/engine/kernels/capabilities.js';
import { type Tensor64, toF32 } from '../reference/index.js';
import { testGpu } from './gpu.js';

let engine: Engine | undefined;

/** The engine on this test file's device. */
export async function testEngine(): Promise<Engine> {
  engine ??= new Engine(await testGpu());
  return engine;
}

/** The device's capabilities, with variants forced or a feature withheld. */
export async function testCapabilities(overrides: Partial<Capabilities> = {}): Promise<Capabilities> {
  return { ...capabilitiesOf({ gpu: await testGpu() }), ...overrides };
}

/** What a test's graph is built with: values become inputs and parameters as they are used. */
export class Bench {
  readonly graph = new Graph();
  readonly values = new Map<string, Float32Array>();
  readonly specs = new Map<string, ParameterSpec>();

  input(name: string, value: Tensor64): Tensor {
    this.values.set(name, toF32(value));
    return this.graph.input(name, value.shape);
  }

  /** A parameter given in PyTorch's layout. */
  param(name: string, value: Tensor64, layout: ParameterLayout = 'plain', exact = false): Tensor {
    const spec = { name, shape: value.shape, layout, ...(exact ? { exact } : {}) };
    this.values.set(name, toF32(value));
    this.specs.set(name, spec);
    return this.graph.param(spec);
  }

  /** Parameters of one shape under one name, in PyTorch's layout. */
  stack(name: string, members: ReadonlyMap<string, Tensor64>, layout: ParameterLayout = 'plain'): Tensor {
    const specs = Array.from(members, ([member, value]): ParameterSpec => {
      this.values.set(member, toF32(value));
      return { name: member, shape: value.shape, layout, stack: { name, size: members.size } };
    });
    for (const spec of specs) this.specs.set(spec.name, spec);
    return this.graph.param(stackOf(specs[0]));
  }
}

export interface Ran {
  readonly outputs: Record<string, Float32Array>;
  readonly program: Program;
  readonly regions: RegionReport[];
}

/** Builds, compiles and runs; every output of the graph is read back. `keep` leaves the program to the caller. */
export async function runGraph(
  build: (bench: Bench) => void,
  options: { capabilities?: Partial<Capabilities>; run?: RunOptions; keep?: boolean } = {},
): Promise<Ran> {
  const on = await testEngine();
  const bench = new Bench();
  build(bench);
  const read = async (name: string) => bench.values.get(name) as Float32Array;
  const parameters = await ParameterStore.load(on, [...bench.specs.values()], read, {
    storage: options.capabilities?.weights,
  });
  const capabilities = await testCapabilities(options.capabilities);
  const program = await Program.compile(on, bench.graph, { parameters, capabilities, label: 'test' });
  try {
    for (const name of bench.graph.inputs.keys()) program.write(name, bench.values.get(name) as Float32Array);
    await program.run(options.run);
    const outputs: Record<string, Float32Array> = {};
    for (const name of bench.graph.outputs.keys()) outputs[name] = await program.read(name);
    return { outputs, program, regions: await program.regionReports() };
  } finally {
    if (!options.keep) {
      program.dispose();
      parameters.dispose();
    }
  }
}
