/** The engine as a host embeds it, computing on the calling thread. */
import { checkAborted, SgpSamError } from '../errors.js';
import type { Gpu, OpenDeviceOptions } from '../gpu/device.js';
import { Engine } from '../gpu/engine.js';
import type { GateSetting } from '../graph/regions.js';
import { affineFromRows, voxelSizes } from '../volumes/affine.js';
import { worldToVoxel } from '../volumes/clicks.js';
import { type CroppedMask, paintCrop, type VoxelBox } from '../volumes/crop.js';
import { readNifti } from '../volumes/nifti.js';
import { newHeader, writeMask, writeVolume } from '../volumes/nifti-write.js';
import type { Vec3, Volume } from '../volumes/types.js';
import { blobSource, memorySource } from '../weights/byte-source.js';
import { fetchWeights } from '../weights/fetch.js';
import { overlayWeights } from '../weights/overlay.js';
import { estimatesIou } from '../weights/untrained.js';
import { openWeights, type WeightSource } from '../weights/weight-source.js';
import { type CallOptions, LesionSession } from './lesion-session.js';
import type { Action } from './lesion-state.js';
import { formulaWeights, Model } from './model.js';
import type {
  BoxPrompt,
  Lesion,
  OpenVolumeOptions,
  Place,
  PointPrompt,
  Segmenter,
  SegmenterInfo,
  SegmenterOptions,
  SegmenterVolume,
  VolumeInfo,
  VolumeInput,
  WeightsInput,
} from './segmenter.js';

/** GPU work between two chances for the page to draw, ms: most of a frame. */
const BUDGET_MS = 12;

export interface LocalSegmenterOptions extends SegmenterOptions {
  /** A device the host owns: used as it is, never destroyed. */
  readonly device?: GPUDevice | undefined;
  /** Told, in one line, when a software adapter is used. */
  readonly announce?: ((line: string) => void) | undefined;
}

export type OpenDevice = (options: OpenDeviceOptions) => Promise<Gpu>;

/** {@link LocalSegmenter.open} with the host's way to a device. */
export const segmenterOpener =
  (openDevice: OpenDevice) =>
  (options: LocalSegmenterOptions): Promise<LocalSegmenter> =>
    LocalSegmenter.open(openDevice, options);

interface Opened {
  readonly source: WeightSource;
  readonly config?: ReturnType<typeof formulaWeights>['config'];
  readonly trained: boolean;
}

async function openInput(input: WeightsInput, options: SegmenterOptions): Promise<Opened> {
  if (typeof input === 'string' && input.startsWith('formula:'))
    return { ...formulaWeights(input), trained: false };
  const { progress, signal, sha256, cache } = options;
  const bytes =
    typeof input === 'string' || input instanceof URL
      ? await fetchWeights(input, { progress, signal, sha256, cache })
      : input instanceof Blob
        ? blobSource(input)
        : input instanceof ReadableStream
          ? blobSource(await new Response(input as ReadableStream<Uint8Array<ArrayBuffer>>).blob())
          : memorySource(input);
  return { source: await openWeights(bytes), trained: true };
}

async function openChosen(options: SegmenterOptions): Promise<Opened> {
  const base = await openInput(options.weights, options);
  if (options.adapterWeights === undefined) return base;
  const over = await openInput(options.adapterWeights, { ...options, sha256: undefined });
  return { ...base, source: overlayWeights(base.source, over.source) };
}

/** Numbers and where they lie, as a volume. */
function volumeOf(input: Extract<VolumeInput, { data: unknown }>, name: string): Volume {
  const { data, dims, spacing = [1, 1, 1] } = input;
  if (data.length !== dims[0] * dims[1] * dims[2]) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: ${data.length} values do not fill ${dims.join(' × ')} voxels`,
      'Give one 3-D image, i varying fastest.',
    );
  }
  const affine = input.affine
    ? affineFromRows(input.affine)
    : affineFromRows([spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0]);
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  const bad = values.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) {
    throw new SgpSamError(
      'non-finite',
      `${name}: value ${bad} is ${values[bad]}`,
      'Replace it, by 0 for air.',
    );
  }
  return { name, dims, affine, data: values, header: newHeader({ dims, affine, datatype: 'float32' }) };
}

class LocalLesion implements Lesion {
  constructor(
    readonly name: string,
    readonly session: LesionSession,
    private readonly inTurn: <R>(work: () => Promise<R>, signal?: AbortSignal) => Promise<R>,
  ) {}

  private voxel(place: Place): Vec3 {
    return 'ijk' in place ? place.ijk : worldToVoxel(this.session.volume, place.mm);
  }

  addPoint(point: PointPrompt, options: CallOptions = {}) {
    const click = { at: this.voxel(point), label: point.label ?? 1 };
    return this.inTurn(() => this.session.addClick(click, options), options.signal);
  }

  addBox(box: BoxPrompt, options: CallOptions = {}) {
    const corners = 'ijk' in box ? box.ijk : box.mm.map((mm) => this.voxel({ mm }));
    const pick = (of: (a: number, b: number) => number) =>
      [0, 1, 2].map((a) => of(corners[0][a], corners[1][a])) as [number, number, number];
    const own: VoxelBox = { min: pick(Math.min), max: pick(Math.max) };
    return this.inTurn(() => this.session.addBox(own, options), options.signal);
  }

  setMask(mask: Uint8Array | CroppedMask) {
    return this.inTurn(() => this.session.setMask(mask));
  }

  undo() {
    return this.inTurn(() => this.session.undo());
  }

  redo() {
    return this.inTurn(() => this.session.redo());
  }

  reset() {
    return this.inTurn(() => this.session.reset());
  }

  state() {
    return this.inTurn(() => this.session.state());
  }

  preview(gates: readonly GateSetting[], options: CallOptions = {}) {
    return this.inTurn(() => this.session.preview(gates, options), options.signal);
  }

  actions(): Promise<readonly Action[]> {
    return this.inTurn(async () => this.session.actions);
  }

  apply(action: Action, options: CallOptions = {}) {
    return this.inTurn(() => this.session.apply(action, options), options.signal);
  }
}

class LocalVolume implements SegmenterVolume {
  readonly lesions = new Map<string, LocalLesion>();

  constructor(
    readonly info: VolumeInfo,
    private readonly volume: Volume,
    private readonly owner: LocalSegmenter,
  ) {}

  lesion(name: string): Lesion {
    let lesion = this.lesions.get(name);
    if (!lesion) {
      lesion = new LocalLesion(name, this.owner.session(this.volume), (work, signal) =>
        this.owner.inTurn(work, signal),
      );
      this.lesions.set(name, lesion);
    }
    return lesion;
  }

  async remove(name: string): Promise<void> {
    this.lesions.delete(name);
  }

  async image(): Promise<Uint8Array<ArrayBuffer>> {
    return writeVolume(this.volume, 'image.nii') as Uint8Array<ArrayBuffer>;
  }

  save(names: readonly string[], fileName?: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.owner.inTurn(async () => {
      if (names.length > 255) throw new SgpSamError('bad-argument', 'a file holds 255 lesions at most');
      const grid = new Uint8Array(this.volume.data.length);
      for (const [n, name] of names.entries()) {
        const lesion = this.lesions.get(name);
        if (!lesion) {
          const known = [...this.lesions.keys()].join(', ') || 'none';
          throw new SgpSamError('bad-argument', `there is no lesion '${name}'`, `There are: ${known}.`);
        }
        paintCrop((await lesion.session.state()).crop, grid, n + 1);
      }
      return writeMask(this.volume, grid, fileName) as Uint8Array<ArrayBuffer>;
    });
  }

  async dispose(): Promise<void> {
    this.lesions.clear();
    this.owner.forget(this);
  }
}

export class LocalSegmenter implements Segmenter {
  private readonly volumes = new Set<LocalVolume>();
  private working: Promise<unknown> = Promise.resolve();
  private gates: readonly GateSetting[];
  private disposed = false;

  private constructor(
    private readonly openDevice: OpenDevice,
    private readonly options: LocalSegmenterOptions,
    private readonly opened: Opened,
    private engine: Engine,
    private model: Model,
  ) {
    this.gates = options.gates ?? model.sites.map(() => 'auto');
  }

  /**
   * Opens weights and a device, loads the one onto the other.
   * @throws SgpSamError `bad-file`, `bad-weights`, `no-adapter`, `adapter-limit`, `aborted`
   */
  static async open(openDevice: OpenDevice, options: LocalSegmenterOptions): Promise<LocalSegmenter> {
    const opened = await openChosen(options);
    try {
      const { engine, model } = await load(openDevice, options, opened);
      return new LocalSegmenter(openDevice, options, opened, engine, model);
    } catch (error) {
      await opened.source.close();
      throw error;
    }
  }

  get info(): SegmenterInfo {
    const { source, trained } = this.opened;
    const { adapter, tier } = this.engine.gpu;
    const { config, sites, loadTimes } = this.model;
    return {
      weights: source.name,
      trained,
      estimatesIou: !trained || estimatesIou(source),
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

  /** A lesion's session with what this segmenter runs now. */
  session(volume: Volume): LesionSession {
    const { preset, grow = true } = this.options;
    return new LesionSession(this.model, volume, { preset, grow, gates: this.gates });
  }

  forget(volume: LocalVolume): void {
    this.volumes.delete(volume);
  }

  /** One call after the other, whatever lesion it is for: the device holds one embedding. */
  inTurn<R>(work: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    const result = this.working.then(() => {
      this.checkOpen();
      checkAborted(signal);
      return work();
    });
    this.working = result.catch(() => {});
    return result;
  }

  private checkOpen(): void {
    if (this.disposed) throw new SgpSamError('bad-argument', 'this segmenter was disposed of');
  }

  async openVolume(input: VolumeInput, options: OpenVolumeOptions = {}): Promise<SegmenterVolume> {
    this.checkOpen();
    const own = input instanceof Blob && 'name' in input ? String(input.name) : undefined;
    const name = options.name ?? own ?? 'volume';
    const file =
      input instanceof Blob
        ? new Uint8Array(await input.arrayBuffer())
        : input instanceof ArrayBuffer
          ? new Uint8Array(input)
          : input;
    const volume =
      file instanceof Uint8Array
        ? await readNifti(file, { name, channel: options.channel })
        : volumeOf(file, name);
    const { dims, affine, header } = volume;
    const info: VolumeInfo = {
      name,
      dims,
      spacing: voxelSizes(affine),
      affine: [...affine],
      channels: header.channels,
      channel: header.channel,
      datatype: header.datatype,
    };
    const opened = new LocalVolume(info, volume, this);
    this.volumes.add(opened);
    return opened;
  }

  setGates(gates: readonly GateSetting[]): Promise<void> {
    return this.inTurn(async () => {
      const known: readonly string[] = ['auto', 'open', 'closed'];
      const wrong = gates.find((gate) => !known.includes(gate));
      if (wrong !== undefined || gates.length > this.model.sites.length) {
        throw new SgpSamError(
          'bad-argument',
          wrong === undefined
            ? `${gates.length} gates for a model that has ${this.model.sites.length} modules`
            : `'${wrong}' is no gate setting`,
          'Give one of auto, open, closed per module.',
        );
      }
      this.gates = gates;
      for (const session of this.sessions()) session.setGates(gates);
    });
  }

  private sessions(): LesionSession[] {
    return [...this.volumes].flatMap(({ lesions }) => [...lesions.values()].map(({ session }) => session));
  }

  async memory() {
    const { bytes, peakBytes, buffers } = this.engine.memory;
    return { bytes, peakBytes, buffers };
  }

  /** @param options.device in place of an adopted device that was lost */
  recover(options: Pick<LocalSegmenterOptions, 'progress' | 'signal' | 'device'> = {}): Promise<void> {
    return this.inTurn(async () => {
      if (!this.engine.gpu.isLost) return;
      if (this.options.device && !options.device) {
        throw new SgpSamError('bad-argument', 'recover: the device was the host’s', 'Hand in a new one.');
      }
      const { engine, model } = await load(this.openDevice, { ...this.options, ...options }, this.opened);
      this.engine.dispose();
      this.engine = engine;
      this.model = model;
      for (const session of this.sessions()) session.useModel(model);
    });
  }

  async loseDevice(): Promise<void> {
    const { lost } = this.engine.gpu;
    this.engine.device.destroy();
    await lost;
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    // What is under way ends first: its buffers are about to go.
    await this.working;
    this.volumes.clear();
    this.model.dispose();
    this.engine.dispose();
    await this.opened.source.close();
  }
}

async function load(
  openDevice: OpenDevice,
  options: LocalSegmenterOptions,
  { source, config }: Opened,
): Promise<{ engine: Engine; model: Model }> {
  const {
    device,
    adapter,
    announce,
    progress,
    signal,
    gateMode,
    weightStorage,
    budgetMs = BUDGET_MS,
  } = options;
  checkAborted(signal);
  const gpu = await openDevice({
    ...(device ? { device } : {}),
    ...(adapter ? { adapter } : {}),
    ...(announce ? { announce } : {}),
  });
  const engine = new Engine(gpu);
  try {
    // The signal and the progress are this load's, not those of later runs.
    const model = await Model.load(engine, source, {
      ...(config ? { config } : {}),
      regionMode: gateMode,
      weightStorage,
      budgetMs,
      load: { progress, signal },
    });
    // What a first click decodes with: one point, SAM's not-a-point, a mask prompt.
    await model.decoderProgram(2, true);
    return { engine, model };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}
