/** Compute pipelines, each compiled once per device, all of a program's in parallel. */
import { SgpSamError } from '../../base/errors.js';

/** What a pipeline needs to know of a shader: its text, and what every binding but the uniform block is. */
export interface PipelineSource {
  readonly name: string;
  readonly code: string;
  readonly bindings: readonly {
    readonly binding: number;
    readonly access: 'read' | 'read_write' | 'texture';
  }[];
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class PipelineCache {
  private readonly pipelines = new Map<string, Promise<Pipeline>>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();

  /** @param checkAlive throws why the device is lost, if it is: that, and no shader, is then at fault */
  constructor(
    private readonly device: GPUDevice,
    private readonly checkAlive: () => void,
  ) {}

  get size(): number {
    return this.pipelines.size;
  }

  /** The compiled pipeline: binding 0 the uniform block, the others as the shader declares them. */
  get(source: PipelineSource): Promise<Pipeline> {
    let found = this.pipelines.get(source.code);
    if (!found) {
      found = this.compile(source);
      this.pipelines.set(source.code, found);
      // A failure may pass (memory): the next time is another try.
      found.catch(() => this.pipelines.delete(source.code));
    }
    return found;
  }

  private async compile(source: PipelineSource): Promise<Pipeline> {
    const { device } = this;
    const limit = device.limits.maxStorageBuffersPerShaderStage;
    const buffers = source.bindings.filter(({ access }) => access !== 'texture').length;
    if (buffers > limit) {
      throw new SgpSamError(
        'adapter-limit',
        `shader ${source.name} binds ${buffers} storage buffers, the device allows ${limit}`,
      );
    }
    const layout = this.layout(source);
    const module = device.createShaderModule({ label: source.name, code: source.code });
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: source.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      });
      return { pipeline, layout };
    } catch (cause) {
      await Promise.resolve(); // a rejection can come just before the loss is announced
      this.checkAlive();
      const { messages } = await module.getCompilationInfo();
      const lines = messages.map((m) => `  line ${m.lineNum}: ${m.message}`);
      const detail = lines.length > 0 ? lines.join('\n') : String(cause);
      throw new SgpSamError('bad-shader', `shader ${source.name} did not compile:\n${detail}`, undefined, {
        cause,
      });
    }
  }

  /** Lets go of them: a host that keeps a disposed segmenter would keep every compiled kernel. */
  clear(): void {
    this.pipelines.clear();
    this.layouts.clear();
  }

  private layout(source: PipelineSource): GPUBindGroupLayout {
    const key = source.bindings.map((b) => `${b.binding}${b.access}`).join();
    let layout = this.layouts.get(key);
    if (!layout) {
      const visibility = GPUShaderStage.COMPUTE;
      layout = this.device.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: 'uniform' } },
          ...source.bindings.map(({ binding, access }) => ({
            binding,
            visibility,
            ...(access === 'texture'
              ? { texture: { sampleType: 'unfilterable-float' as const } }
              : {
                  buffer: { type: access === 'read' ? ('read-only-storage' as const) : ('storage' as const) },
                }),
          })),
        ],
      });
      this.layouts.set(key, layout);
    }
    return layout;
  }
}
