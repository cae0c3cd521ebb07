/**
 * Compiling for GPUs that are not there: Mesa's RADV opens a device of any AMD family without hardware, and tells, through the Vulkan
 * layer of tools/null-gpu, what its compiler made of each kernel.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SgpSamError } from '../../../base/errors.js';
import { type Gpu, openAdapter } from '../device.js';
import { PipelineCache, type PipelineSource } from '../pipelines.js';
import { unpackOnce } from './cache.js';
import { dawnFeatures, findAdapter, firstLine } from './dawn.js';
import { hasVulkanLoader, radvManifest } from './vulkan.js';

/** As Mesa calls them: RDNA 3, 2, 4 and 1, GCN 4 and 5. Of a name that it does not know it ends the process. */
export const nullFamilies = ['navi31', 'navi21', 'gfx1200', 'navi10', 'polaris10', 'vega10'] as const;
/** One of `nullFamilies`. */
export type NullFamily = (typeof nullFamilies)[number];

/** What a driver's compiler made of a kernel. */
export interface Compiled {
  /** Invocations in a subgroup as it was compiled. */
  readonly subgroupSize: number;
  /** As the driver names them: `VGPRs`, `Spilled VGPRs`, `LDS size`, `Subgroups per SIMD`, `Code size`, … */
  readonly statistics: Readonly<Record<string, number>>;
  /** Representations of the code by name: `ACO IR` (before registers are given out), `Assembly`. */
  readonly texts: Readonly<Record<string, string>>;
}

/** A device that compiles and does nothing else: whoever makes a buffer on it loses it. */
export interface NullGpu {
  readonly gpu: Gpu;
  /** @throws SgpSamError `bad-shader` when the driver does not compile it */
  compile(source: PipelineSource): Promise<Compiled>;
  dispose(): void;
}

const MEND =
  'On Debian, as root: apt-get install gcc libc6-dev libvulkan-dev libvulkan1 mesa-vulkan-drivers.';
const missing = (what: string, cause?: unknown) =>
  new SgpSamError('no-adapter', `compiling for GPUs that are not there: ${what}`, MEND, { cause });

const LAYER = 'VK_LAYER_SGP_SAM_null_gpu';
const NEGOTIATE = 'vkNegotiateLoaderLayerInterfaceVersion';
const manifest = JSON.stringify({
  file_format_version: '1.2.0',
  layer: {
    name: LAYER,
    type: 'GLOBAL',
    library_path: './liblayer.so',
    api_version: '1.3.0',
    implementation_version: '1',
    description: 'compiling for GPUs that are not there',
    functions: { [NEGOTIATE]: NEGOTIATE },
  },
});

/** The layer's source: below the package's root, wherever this module was bundled to. */
function layerSource(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); at !== dirname(at); at = dirname(at)) {
    const file = join(at, 'tools', 'null-gpu', 'layer.c');
    if (existsSync(file)) return file;
  }
  throw missing('tools/null-gpu/layer.c is not in this package');
}

/** The folder of the built layer: built once per user and text. */
function builtLayer(): string {
  const source = layerSource();
  const digest = createHash('sha256')
    .update(readFileSync(source))
    .update(manifest)
    .digest('hex')
    .slice(0, 12);
  return unpackOnce(`null-gpu-${digest}`, () => {
    const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-layer-'));
    const library = join(scratch, 'liblayer.so');
    try {
      execFileSync('gcc', ['-O1', '-shared', '-fPIC', '-o', library, source], { stdio: 'pipe' });
      return new Map([
        ['liblayer.so', { data: readFileSync(library), mode: 0o755 }],
        ['layer.json', { data: Buffer.from(manifest), mode: 0o644 }],
      ]);
    } catch (cause) {
      const none = (cause as { code?: string }).code === 'ENOENT';
      const said = String((cause as { stderr?: Buffer }).stderr ?? '');
      const line = said.split('\n').find((one) => /error/.test(one)) ?? firstLine(cause);
      throw missing(none ? 'there is no gcc' : `gcc did not build the Vulkan layer: ${line}`, cause);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });
}

/** The layer's report: a line of numbers, then texts below their names. */
function parseReport(text: string): Compiled {
  const [first = '', ...rest] = text.split(/^---- (.*)\n/m);
  const { subgroupSize, ...statistics } = JSON.parse(first) as Record<string, number>;
  const texts: Record<string, string> = {};
  for (let i = 0; i + 1 < rest.length; i += 2) texts[rest[i] as string] = rest[i + 1] as string;
  return { subgroupSize: subgroupSize as number, statistics, texts };
}

/**
 * Opens a device of an AMD family that is not there, with every feature, experimental ones too. Its process must not compute anything:
 * the Vulkan layer stays with it.
 * @throws SgpSamError `no-adapter` saying which of Mesa's driver, the Vulkan loader, its headers and gcc is missing
 */
export async function openNullGpu(family: NullFamily): Promise<NullGpu> {
  const driver = process.platform === 'linux' ? radvManifest() : undefined;
  if (driver === undefined) throw missing('there is no Mesa driver for AMD (radeon_icd.json)');
  if (!hasVulkanLoader()) throw missing('there is no Vulkan loader (libvulkan.so.1)');
  const folder = builtLayer();
  const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-null-gpu-'));
  const report = join(scratch, 'report');
  const found = await findAdapter({
    drivers: [driver],
    environment: {
      VK_LAYER_PATH: folder,
      VK_INSTANCE_LAYERS: LAYER,
      RADV_FORCE_FAMILY: family,
      SGP_SAM_NULL_GPU: report,
    },
    dawn: dawnFeatures('experimental'),
    request: { powerPreference: 'high-performance' },
  });
  const description = found?.adapter.info.device ?? '';
  if (!found || !description.includes(`null-hardware-radv-${family}`)) {
    found?.release();
    rmSync(scratch, { recursive: true, force: true });
    throw new SgpSamError(
      'no-adapter',
      `Mesa opens no '${family}' without hardware`,
      'It may be older than that family, or too old for Dawn: Mesa 23 or newer is wanted.',
    );
  }
  const gpu = await openAdapter(
    found.adapter,
    'system',
    { features: 'experimental' },
    { onDispose: found.release },
  );
  const pipelines = new PipelineCache(gpu.device, () => {});
  let last: Promise<unknown> = Promise.resolve();
  const compileNow = async (source: PipelineSource): Promise<Compiled> => {
    rmSync(report, { force: true });
    await pipelines.get(source);
    pipelines.clear(); // the same text again must compile again, or there is no report
    return parseReport(readFileSync(report, 'latin1'));
  };
  return {
    gpu,
    compile(source) {
      const result = last.then(() => compileNow(source));
      last = result.catch(() => {});
      return result;
    },
    dispose() {
      gpu.dispose();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}
