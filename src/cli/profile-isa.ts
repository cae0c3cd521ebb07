/** `profile --isa`: what a compiler makes of a program's kernels for a GPU that is not there. */
import { join } from 'node:path';
import { writeFileAtomic } from '../base/files.node.js';
import { withDigest } from '../base/json.js';
import { tableText } from '../base/table.js';
import { type CompiledKernel, figuresOf, figuresTable } from '../engine/gpu/node/isa.js';
import { type NullFamily, openNullGpu } from '../engine/gpu/node/null-gpu.js';
import { planGraph } from '../engine/graph/plan.js';
import { capabilitiesOf } from '../engine/kernels/capabilities.js';
import { usualWeights, type WeightStorage } from '../engine/kernels/rules.js';
import type { ModelConfig } from '../sam/config.js';
import { graphOf } from './graphs.js';
import { writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import type { Work } from './work.js';

/** What `--isa` is asked for. */
export interface IsaOptions {
  readonly family: NullFamily;
  readonly work: Work;
  readonly config: ModelConfig;
  readonly train: string;
  readonly variants: Readonly<Record<string, string>>;
  readonly weightStorage?: WeightStorage | undefined;
  /** A folder for each kernel's WGSL and machine code. */
  readonly dump?: string | undefined;
  readonly json?: string | undefined;
  readonly quiet: boolean;
}

/** Compiles every kernel of a program, and writes the table. */
export async function profileIsa(options: IsaOptions): Promise<void> {
  const { family, work, config, dump, json } = options;
  const bars = new ProgressBars(options.quiet);
  const device = await openNullGpu(family);
  try {
    const caps = capabilitiesOf(device, options.variants);
    const graph = graphOf(work, config, options.train);
    const { calls } = planGraph(graph, { ...caps, weights: options.weightStorage ?? usualWeights(caps) });
    const distinct = [...new Map(calls.map((call) => [call.shader.code, call])).values()];
    const rdna = device.gpu.tier.subgroupMinSize === 32;
    const kernels: CompiledKernel[] = [];
    for (const [i, { kernel, variant, shader }] of distinct.entries()) {
      const compiled = await device.compile(shader);
      kernels.push({ kernel, variant, figures: figuresOf(compiled, rdna) });
      bars.report({ stage: family, done: i + 1, total: distinct.length });
      if (dump === undefined) continue;
      const name = join(dump, `${String(i).padStart(3, '0')}-${shader.name}`);
      await writeFileAtomic(`${name}.wgsl`, `// ${kernel}: ${variant}\n${shader.code}\n`);
      await writeFileAtomic(`${name}.isa`, compiled.texts.Assembly ?? compiled.texts['ACO IR'] ?? '');
    }
    bars.finish();
    const { description } = device.gpu.adapter;
    process.stdout.write(
      `${work} of ${config.name} as compiled for ${family} by ${description}\n\n${tableText(figuresTable(kernels))}\n`,
    );
    if (json !== undefined) {
      const report = {
        format: 'sgp-sam isa 1',
        family,
        driver: description,
        work,
        model: config.name,
        kernels,
      };
      await writeOutput(json, `${JSON.stringify(withDigest(report, 'profile'), null, 1)}\n`);
      process.stdout.write(`wrote ${json}\n`);
    }
    if (dump !== undefined) process.stdout.write(`wrote ${distinct.length} kernels into ${dump}\n`);
  } finally {
    bars.finish();
    device.dispose();
  }
}
