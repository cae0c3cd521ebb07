/** `doctor`: which adapters this machine has, whether they compute, and how to get a better one. */
import { SgpSamError } from '../base/errors.js';
import type { AdapterReport, DeviceFeatures, Gpu, LimitName, Tier } from '../engine/gpu/device.js';
import { adapterLine, DEFAULT_LIMITS, openAdapter } from '../engine/gpu/device.js';
import type { Usable } from '../engine/gpu/node/advice.js';
import { advise } from '../engine/gpu/node/advice.js';
import { dawnFeatures, firstLine, webgpuOf } from '../engine/gpu/node/dawn.js';
import { hostHooks } from '../engine/gpu/node/open.js';
import { runtimeOf } from '../engine/gpu/node/runtime.js';
import type { Candidate, Miss } from '../engine/gpu/node/search.js';
import { search, searchEverywhere } from '../engine/gpu/node/search.js';
import type { Proof } from '../engine/gpu/probe.js';
import { proveCompute, timestampStep } from '../engine/gpu/probe.js';

export interface DoctorOptions {
  json?: boolean;
  features?: DeviceFeatures;
  write: (text: string) => void;
}

interface Finding {
  adapter: AdapterReport;
  /** The one that `auto` takes. */
  auto: boolean;
  tier: Tier;
  /** As opened: raised as far as the adapter grants. */
  limits: Record<LimitName, number>;
  timestampStepNs: number | null;
  proof: Proof;
}

interface Report {
  platform: string;
  node: string;
  /** Which runtime it is, with its version: Bun and Deno have a Node's version too, the one that they stand for. */
  runtime: string;
  /** Whose WebGPU: the package `webgpu`'s, or Deno's own. */
  webgpu: 'Dawn' | 'wgpu';
  adapters: Finding[];
  misses: Miss[];
  advice: string[];
}

/** Reports on every adapter of this machine. Exit code 0 when `auto` would get one that computes rightly, else 1. */
export async function doctor(options: DoctorOptions): Promise<number> {
  const report = await examine(options.features);
  options.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : render(report));
  return report.adapters.some((finding) => finding.auto && finding.proof.ok) ? 0 : 1;
}

async function examine(features: DeviceFeatures | undefined): Promise<Report> {
  const report: Report = {
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    runtime: runtimeOf(process.versions),
    webgpu: webgpuOf(dawnFeatures(features)),
    adapters: [],
    misses: [],
    advice: [],
  };
  try {
    const chosen = await search('auto', dawnFeatures(features));
    const auto = Array.isArray(chosen)
      ? undefined
      : chosen.adapter.info.description || chosen.adapter.info.device;
    if (!Array.isArray(chosen)) chosen.release();
    for (const result of await searchEverywhere(dawnFeatures(features)))
      await add(report, result, auto, features);
  } catch (error) {
    if (!(error instanceof SgpSamError)) throw error;
    report.misses.push({ place: 'WebGPU for Node', reason: firstLine(error) });
    if (error.mend) report.advice.push(error.mend);
    return report;
  }
  const proven = report.adapters.filter((finding) => finding.proof.ok).map((finding) => finding.adapter);
  const usable: Usable = {
    hardware: proven.some((adapter) => adapter.kind === 'hardware'),
    lavapipe: proven.some((adapter) => adapter.source === 'lavapipe'),
    swiftshader: proven.some((adapter) => adapter.source === 'swiftshader'),
  };
  report.advice.push(...advise(usable));
  return report;
}

async function add(
  report: Report,
  result: Candidate | Miss,
  auto: string | undefined,
  features: DeviceFeatures | undefined,
): Promise<void> {
  if (!('adapter' in result)) {
    // The two searches for hardware usually fail alike.
    if (!report.misses.some((miss) => miss.place === result.place)) report.misses.push(result);
    return;
  }
  const { adapter, source, release } = result;
  const name = adapter.info.description || adapter.info.device;
  const known = report.adapters.some(({ adapter: seen }) => (seen.description || seen.device) === name);
  if (known) return release();
  try {
    const gpu = await openAdapter(
      adapter,
      source,
      { features },
      { ...hostHooks(dawnFeatures(features)), onDispose: release },
    );
    try {
      report.adapters.push(await inspect(gpu, name === auto));
    } finally {
      gpu.dispose();
    }
  } catch (error) {
    release();
    report.misses.push({ place: name, reason: firstLine(error) });
  }
}

async function inspect(gpu: Gpu, auto: boolean): Promise<Finding> {
  const proof = await proveCompute(gpu);
  const names = Object.keys(DEFAULT_LIMITS) as LimitName[];
  const limits = Object.fromEntries(names.map((limit) => [limit, gpu.limits[limit]])) as Finding['limits'];
  const timestampStepNs = (proof.ok && (await timestampStep(gpu))) || null;
  return { adapter: gpu.adapter, auto, tier: gpu.tier, limits, timestampStepNs, proof };
}

function render(report: Report): string {
  const lines = [`${report.runtime} with ${report.webgpu} on ${report.platform}`, ''];
  for (const finding of report.adapters) lines.push(...renderFinding(finding), '');
  if (report.adapters.length === 0) lines.push('No adapter.', '');
  if (report.misses.length > 0) lines.push('Not usable:');
  for (const { place, reason } of report.misses) lines.push(`  ${place}: ${reason}`);
  if (report.misses.length > 0) lines.push('');
  if (report.advice.length > 0) lines.push('To do better:');
  for (const sentence of report.advice) lines.push(`  - ${sentence}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function renderFinding({ adapter, auto, tier, limits, timestampStepNs, proof }: Finding): string[] {
  const subgroups = tier.subgroups ? sizes(tier) : 'no';
  const raised = (Object.keys(DEFAULT_LIMITS) as LimitName[]).filter(
    (name) => limits[name] > DEFAULT_LIMITS[name],
  );
  const verdict = proof.ok
    ? `right, ${proof.ms.toFixed(2)} ms from submit to result, ${proof.compileMs.toFixed(0)} ms to compile`
    : `WRONG: ${proof.problem}`;
  return [
    `${auto ? '*' : ' '} ${adapterLine(adapter)}${auto ? '  <- auto takes this one' : ''}`,
    `    f16 ${tier.f16 ? 'yes' : 'no'}; subgroups ${subgroups}; timestamps ${timing(tier, timestampStepNs)}`,
    ...matrices(tier),
    `    test kernel: ${verdict}`,
    ...raised.map(
      (name) => `    ${name} ${amount(name, limits[name])} (default ${amount(name, DEFAULT_LIMITS[name])})`,
    ),
  ];
}

function sizes({ subgroupMinSize: least, subgroupMaxSize: most }: Tier): string {
  return least === most ? `of ${least}` : `of ${least} to ${most}`;
}

function matrices({ subgroupMatrices: all }: Tier): string[] {
  const names = all.map((c) => `${c.M}×${c.N}×${c.K} ${c.componentType} → ${c.resultComponentType}`);
  return names.length > 0 ? [`    subgroup matrices ${names.join(', ')}`] : [];
}

function timing(tier: Tier, step: number | null): string {
  if (!tier.timestamps) return 'no';
  return step === null ? 'do not advance' : `in steps of ${step} ns`;
}

function amount(limit: LimitName, value: number): string {
  if (!/Size$|StorageSize$/.test(limit)) return String(value);
  return value >= 2 ** 20 ? `${Math.round(value / 2 ** 20)} MiB` : `${Math.round(value / 1024)} KiB`;
}
