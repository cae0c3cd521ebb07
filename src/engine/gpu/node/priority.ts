import { setPriority } from 'node:os';

const NICER = 10;

/**
 * Lowers the calling thread's priority, on Linux only. There a "process id" in setpriority(2) names a thread, and 0
 * the calling one; threads made earlier keep theirs and later ones inherit the new. So a software driver's workers
 * must exist, which a first dispatch sees to: while a promise is pending Dawn polls on this thread, and
 * on a machine with few cores it would otherwise take one from them.
 */
export async function lowerPriority(device: GPUDevice): Promise<void> {
  if (process.platform !== 'linux') return;
  const module = device.createShaderModule({ code: '@compute @workgroup_size(1) fn main() {}' });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.dispatchWorkgroups(64);
  pass.end();
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  try {
    setPriority(0, NICER);
  } catch {
    // Refused by a sandbox: it is only about speed.
  }
}
