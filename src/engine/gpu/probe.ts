/** Small experiments on an open device: does it compute, and how finely does it tell time. */
import type { Gpu } from './device.js';

export interface Proof {
  ok: boolean;
  /** From submit to result on the host, with everything warm. */
  ms: number;
  /** From source to pipeline. */
  compileMs: number;
  problem?: string;
}

const COUNT = 65_535; // the sum of 1..COUNT still fits 32 bits
const SUM = (COUNT * (COUNT + 1)) / 2;

const CODE = /* wgsl */ `
@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
var<workgroup> partial: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0u;
  for (var i = lane; i < arrayLength(&values); i += 64u) { sum += values[i]; }
  partial[lane] = sum;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u) { result[0] = partial[0]; }
}`;

/** Sums 1..65535 on the device and checks it: buffers, barriers, shared memory and readback all have to work. */
export async function proveCompute(gpu: Gpu): Promise<Proof> {
  const { device } = gpu;
  const buffers: GPUBuffer[] = [];
  const buffer = (size: number, usage: number) => {
    const made = device.createBuffer({ size, usage });
    buffers.push(made);
    return made;
  };
  let compileMs = 0;
  try {
    const compiling = performance.now();
    const module = device.createShaderModule({ code: CODE });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
    compileMs = performance.now() - compiling;
    const values = buffer(COUNT * 4, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
    const result = buffer(4, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC);
    const read = buffer(4, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(
      values,
      0,
      Uint32Array.from({ length: COUNT }, (_, i) => i + 1),
    );
    const bindings = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [values, result].map((bound, binding) => ({ binding, resource: { buffer: bound } })),
    });
    let ms = 0;
    let got = 0;
    for (let round = 0; round < 2; round++) {
      const started = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindings);
      pass.dispatchWorkgroups(1);
      pass.end();
      encoder.copyBufferToBuffer(result, 0, read, 0, 4);
      device.queue.submit([encoder.finish()]);
      await gpu.wait(read.mapAsync(GPUMapMode.READ));
      got = new Uint32Array(read.getMappedRange())[0] ?? 0;
      read.unmap();
      ms = performance.now() - started;
    }
    if (got === SUM) return { ok: true, ms, compileMs };
    return {
      ok: false,
      ms,
      compileMs,
      problem: `the sum of 1..${COUNT} came out as ${got} instead of ${SUM}`,
    };
  } catch (error) {
    return { ok: false, ms: 0, compileMs, problem: error instanceof Error ? error.message : String(error) };
  } finally {
    for (const made of buffers) made.destroy();
  }
}

/**
 * The step of the device's timestamps in ns: the greatest common divisor of what passes of differing length measured.
 * Undefined without timestamps, or when all came out the same. 65536 means that they are quantised.
 */
export async function timestampStep(gpu: Gpu): Promise<number | undefined> {
  if (!gpu.tier.timestamps) return undefined;
  const { device } = gpu;
  const passes = 32;
  const querySet = device.createQuerySet({ type: 'timestamp', count: passes * 2 });
  const size = passes * 16;
  const resolved = device.createBuffer({
    size,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const read = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  try {
    const module = device.createShaderModule({ code: '@compute @workgroup_size(1) fn main() {}' });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
    const encoder = device.createCommandEncoder();
    for (let i = 0; i < passes; i++) {
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass({ timestampWrites });
      pass.setPipeline(pipeline);
      pass.dispatchWorkgroups(1 + i);
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, passes * 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, size);
    device.queue.submit([encoder.finish()]);
    await gpu.wait(read.mapAsync(GPUMapMode.READ));
    const times = new BigUint64Array(read.getMappedRange());
    let step = 0n;
    for (const time of times) {
      let [a, b] = [step, time > times[0] ? time - times[0] : times[0] - time];
      while (b !== 0n) [a, b] = [b, a % b];
      step = a;
    }
    return step === 0n ? undefined : Number(step);
  } finally {
    querySet.destroy();
    resolved.destroy();
    read.destroy();
  }
}
