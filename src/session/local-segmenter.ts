/** The engine as a host embeds it, computing on the calling thread. */
import { need, needOptions } from '../base/arguments.js';
import { checkAborted, SgpSamError } from '../base/errors.js';
import { Queue } from '../base/queue.js';
import type { Gpu, OpenDeviceOptions } from '../engine/gpu/device.js';
import { Engine } from '../engine/gpu/engine.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { voxelSizes } from '../imaging/affine.js';
import type { SeriesInfo } from '../imaging/formats/format.js';
import { listSeries } from '../imaging/formats/open.js';
import type { DicomSeries, Volume } from '../imaging/types.js';
import { formulaWeights } from '../sam/formula-weights.js';
import { Model, type ModelOptions } from '../sam/model.js';
import { isTrained, openAnyWeights } from '../weights/open.js';
import type { WeightSource } from '../weights/weight-source.js';
import { checkDevice, checkGates, checkOptions, openVolumeInput, sourcesOf } from './inputs.js';
import { LesionSession } from './lesion-session.js';
import { LocalVolume, type Owner } from './local-volume.js';
import type {
  FilesInput,
  OpenVolumeOptions,
  Segmenter,
  SegmenterInfo,
  SegmenterOptions,
  SegmenterVolume,
  VolumeInfo,
  VolumeInput,
} from './segmenter.js';

/** GPU work between two chances for the page to draw, ms: most of a frame. */
const BUDGET_MS = 12;

/** Options of a segmenter in this thread. */
export interface LocalSegmenterOptions extends SegmenterOptions {
  /** A device the host owns: used as it is, never destroyed. */
  readonly device?: GPUDevice | undefined;
  /** Told, in one line, when a software adapter is used. */
  readonly announce?: ((line: string) => void) | undefined;
  /** Kernel family → variant, to overrule the planner. */
  readonly variants?: ModelOptions['variants'];
}

/** A host’s way to a device: the browser’s, or Dawn’s in Node. */
export type OpenDevice = (options: OpenDeviceOptions) => Promise<Gpu>;

/** What pages, Node and commands do each in their own way. */
export interface SegmenterHost {
  /** The weights that the options name. */
  openWeights(options: LocalSegmenterOptions): Promise<WeightSource>;
  /** An engine on the device that the options name. */
  openEngine(options: OpenDeviceOptions): Promise<Engine>;
}

/** {@link LocalSegmenter.open} with a way to a device, and weights from wherever the options say. */
export const segmenterOpener = (openDevice: OpenDevice) => {
  const host: SegmenterHost = {
    openWeights: (options) => openAnyWeights(options, { formula: (text) => formulaWeights(text).source }),
    openEngine: async (options) => new Engine(await openDevice(options)),
  };
  return (options: LocalSegmenterOptions): Promise<LocalSegmenter> => LocalSegmenter.open(host, options);
};

/** A segmenter that computes in this thread. */
export class LocalSegmenter implements Segmenter, Owner {
  private readonly volumes = new Set<LocalVolume>();
  private readonly working = new Queue();
  private gates: readonly GateSetting[];
  /** Fires when the segmenter is disposed of: what is under way stops. */
  private readonly ending = new AbortController();
  private disposing: Promise<void> | undefined;

  private constructor(
    private readonly host: SegmenterHost,
    private readonly options: LocalSegmenterOptions,
    private readonly source: WeightSource,
    private engine: Engine,
    private model: Model,
  ) {
    this.gates = options.gates ?? model.sites.map(() => 'auto');
  }

  /**
   * Opens weights and a device, loads the one onto the other.
   * @throws SgpSamError `bad-file`, `bad-weights`, `no-adapter`, `adapter-limit`, `aborted`
   */
  static async open(host: SegmenterHost, options: LocalSegmenterOptions): Promise<LocalSegmenter> {
    checkOptions(options);
    const source = await host.openWeights(options);
    try {
      const { engine, model } = await load(host, options, source);
      if (options.gates) {
        try {
          checkGates(options.gates, model.sites.length);
        } catch (error) {
          engine.dispose();
          throw error;
        }
      }
      return new LocalSegmenter(host, options, source, engine, model);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  get info(): SegmenterInfo {
    const { adapter, tier } = this.engine.gpu;
    const { config, sites, loadTimes, card } = this.model;
    return {
      weights: this.source.name,
      trained: isTrained(this.source),
      estimatesIou: card.estimatesIou,
      zoom: this.options.zoom ?? card.zoom,
      scope: card.scope,
      config,
      sites,
      adapter,
      tier,
      loadTimes,
    };
  }

  get lost(): Promise<SgpSamError> {
    return this.engine.gpu.lost;
  }

  /** For profiling; what it does with them ends the encode of every lesion. */
  get internals(): { readonly engine: Engine; readonly model: Model } {
    return { engine: this.engine, model: this.model };
  }

  /** The volume of a name and channel that was opened last: for what a worker's own script computes on it. */
  opened(name: string, channel: number): Volume | undefined {
    return [...this.volumes].findLast(({ info }) => info.name === name && info.channel === channel)?.volume;
  }

  /** A lesion's session with what this segmenter runs now. */
  session(volume: Volume): LesionSession {
    const { preset, zoom } = this.options;
    return new LesionSession(this.model, volume, { preset, zoom, gates: this.gates });
  }

  /** What a volume calls when it is disposed of. */
  forget(volume: LocalVolume): void {
    this.volumes.delete(volume);
  }

  /** How many gates there are to set. */
  get modules(): number {
    return this.model.sites.length;
  }

  /** One call after the other, whatever lesion it is for: the device holds one embedding. */
  inTurn<R>(work: (signal: AbortSignal) => Promise<R>, signal?: AbortSignal | undefined): Promise<R> {
    const ending = this.ending.signal;
    return this.working.run(() => {
      this.checkOpen();
      checkAborted(signal);
      return work(signal ? AbortSignal.any([signal, ending]) : ending);
    });
  }

  private checkOpen(): void {
    if (this.disposing) throw new SgpSamError('bad-argument', 'this segmenter was disposed of');
  }

  async openVolume(input: VolumeInput, options: OpenVolumeOptions = {}): Promise<SegmenterVolume> {
    this.checkOpen();
    const volume = await this.model.putFirst(openVolumeInput(input, options));
    this.checkOpen();
    const { dims, affine, dicom, notes, channels = 1, channel = 0, datatype = 'float32' } = volume;
    const info: VolumeInfo = {
      name: volume.name,
      dims,
      spacing: voxelSizes(affine),
      affine: [...affine],
      channels,
      channel,
      datatype,
      ...(notes ? { notes } : {}),
      ...(dicom ? { series: seriesOf(dicom) } : {}),
    };
    const opened = new LocalVolume(info, volume, this);
    this.volumes.add(opened);
    return opened.handle;
  }

  async listSeries(files: FilesInput, options: OpenVolumeOptions = {}): Promise<readonly SeriesInfo[]> {
    this.checkOpen();
    need('listSeries: files', files, 'an object');
    needOptions('listSeries', options);
    return listSeries(sourcesOf(files, options.name), options);
  }

  setGates(gates: readonly GateSetting[]): Promise<void> {
    return this.inTurn(async () => {
      checkGates(gates, this.modules);
      this.gates = gates;
      for (const session of this.sessions()) session.setGates(gates);
    });
  }

  private sessions(): LesionSession[] {
    return [...this.volumes].flatMap(({ sessions }) => sessions);
  }

  async memory() {
    const { bytes, peakBytes, buffers } = this.engine.memory;
    return { bytes, peakBytes, buffers };
  }

  /** @param options.device in place of an adopted device that was lost */
  async recover(options: Pick<LocalSegmenterOptions, 'progress' | 'signal' | 'device'> = {}): Promise<void> {
    checkDevice(options, 'recover');
    return this.inTurn(async (signal) => {
      if (!this.engine.gpu.isLost) return;
      if (this.options.device && !options.device) {
        throw new SgpSamError(
          'bad-argument',
          'recover: the device was the host’s',
          'Hand in a new one: recover({ device }).',
        );
      }
      const { progress, device } = options;
      const { engine, model } = await load(
        this.host,
        { ...this.options, progress, signal, device },
        this.source,
      );
      this.engine.dispose();
      this.engine = engine;
      this.model = model;
      for (const session of this.sessions()) session.useModel(model);
    }, options.signal);
  }

  async loseDevice(): Promise<void> {
    const { lost } = this.engine.gpu;
    this.engine.device.destroy();
    await lost;
  }

  dispose(): Promise<void> {
    this.disposing ??= this.disposeNow();
    return this.disposing;
  }

  private async disposeNow(): Promise<void> {
    this.ending.abort();
    // What is under way has to see that first: its buffers are about to go.
    await this.working.idle();
    this.volumes.clear();
    this.model.dispose();
    this.engine.dispose();
    await this.source.close();
  }
}

/** What a series is, without its files. */
const seriesOf = ({ seriesInstanceUid, modality, description }: DicomSeries) => ({
  seriesInstanceUid,
  modality,
  description,
});

async function load(
  host: SegmenterHost,
  options: LocalSegmenterOptions,
  source: WeightSource,
): Promise<{ engine: Engine; model: Model }> {
  const {
    device,
    adapter,
    announce,
    progress,
    signal,
    gateMode,
    weightStorage,
    variants,
    budgetMs = BUDGET_MS,
  } = options;
  checkAborted(signal);
  const engine = await host.openEngine({
    ...(device ? { device } : {}),
    ...(adapter ? { adapter } : {}),
    ...(announce ? { announce } : {}),
  });
  try {
    // The signal and the progress are this load's, not those of later runs.
    const model = await Model.load(engine, source, {
      regionMode: gateMode,
      weightStorage,
      ...(variants ? { variants } : {}),
      budgetMs,
      ahead: true,
      load: { progress, signal },
    });
    // What the first clicks decode with: points and a mask prompt.
    await model.decoderProgram({ points: [{ at: [0, 0, 0], label: 1 }], mask: model.emptyMask(), masks: 1 });
    return { engine, model };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}
