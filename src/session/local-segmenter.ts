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
import { type ByteSource, blobSource, memorySource } from '../weights/byte-source.js';
import { collectWeights, fetchWeights } from '../weights/fetch.js';
import { overlayWeights } from '../weights/overlay.js';
import { estimatesIou } from '../weights/untrained.js';
import { openWeights, type WeightSource } from '../weights/weight-source.js';
import { boxOfPoints } from './growth.js';
import { type CallOptions, LesionSession } from './lesion-session.js';
import type { Action } from './lesion-state.js';
import { formulaWeights, Model } from './model.js';
import {
  type BoxPrompt,
  checkKnown,
  type Lesion,
  type OpenVolumeOptions,
  type Place,
  type PointPrompt,
  type Segmenter,
  type SegmenterInfo,
  type SegmenterOptions,
  type SegmenterVolume,
  type VolumeInfo,
  type VolumeInput,
  type WeightsInput,
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
  return { source: await openWeights(await bytesOf(input, options)), trained: true };
}

async function bytesOf(input: WeightsInput, options: SegmenterOptions): Promise<ByteSource> {
  if (typeof input === 'string' || input instanceof URL) return fetchWeights(input, options);
  if (input instanceof ReadableStream)
    return blobSource((await collectWeights(input, 'weights', 0, options)).blob);
  const source = input instanceof Blob ? blobSource(input) : memorySource(input);
  if (options.sha256 !== undefined) {
    const blob = input instanceof Blob ? input : new Blob([input as BlobPart]);
    await collectWeights(blob.stream(), source.name, blob.size, options);
  }
  return source;
}

async function openChosen(options: SegmenterOptions): Promise<Opened> {
  const base = await openInput(options.weights, options);
  if (options.adapterWeights === undefined) return base;
  const over = await openInput(options.adapterWeights, { ...options, sha256: undefined });
  return { ...base, source: overlayWeights(base.source, over.source) };
}

const isVec3 = (v: unknown): v is Vec3 =>
  (Array.isArray(v) || ArrayBuffer.isView(v)) &&
  (v as unknown as ArrayLike<unknown>).length === 3 &&
  [0, 1, 2].every((a) => Number.isFinite((v as unknown as ArrayLike<unknown>)[a]));

/** @throws SgpSamError `bad-argument` for anything but one known setting per module at most */
function checkGates(gates: readonly GateSetting[], modules: number): void {
  const known: readonly string[] = ['auto', 'open', 'closed'];
  const wrong = gates.find((gate) => !known.includes(gate));
  if (wrong === undefined && gates.length <= modules) return;
  throw new SgpSamError(
    'bad-argument',
    wrong === undefined
      ? `${gates.length} gates for a model that has ${modules} modules`
      : `'${wrong}' is no gate setting`,
    'Give one of auto, open, closed per module.',
  );
}

/** Numbers and where they lie, as a volume. */
function volumeOf(input: Extract<VolumeInput, { data: unknown }>, name: string): Volume {
  const { data, dims, spacing = [1, 1, 1] } = input;
  if (!data || !isVec3(dims) || !isVec3(spacing)) {
    throw new SgpSamError(
      'bad-argument',
      `${name}: this is neither a NIfTI file nor { data, dims, spacing or affine }`,
      'Give a File, Blob, ArrayBuffer or Uint8Array of a file, or voxels with their sizes.',
    );
  }
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
  const values = data instanceof Float32Array ? data : Float32Array.from(data, Number);
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

/** What lesions need of their segmenter. */
interface Owner {
  readonly modules: number;
  session(volume: Volume): LesionSession;
  /** One call after the other, stopped when the segmenter is disposed of. */
  inTurn<R>(work: (signal: AbortSignal) => Promise<R>, signal?: AbortSignal | undefined): Promise<R>;
  forget(volume: LocalVolume): void;
}

class LocalLesion implements Lesion {
  /** Why calls are errors: it was removed, or its volume disposed of. */
  gone: string | undefined;

  constructor(
    readonly name: string,
    readonly session: LesionSession,
    private readonly owner: Owner,
  ) {}

  private voxel(place: Place): Vec3 {
    const own = 'ijk' in place ? place.ijk : place.mm;
    if (!isVec3(own))
      throw new SgpSamError('bad-prompt', `'${own}' is no place`, 'Give { ijk } or { mm }: three numbers.');
    return 'ijk' in place ? [own[0], own[1], own[2]] : worldToVoxel(this.session.volume, own);
  }

  private run<R>(
    work: (session: LesionSession, options: CallOptions) => Promise<R>,
    options: CallOptions = {},
  ): Promise<R> {
    return this.owner.inTurn(async (signal) => {
      if (this.gone) throw new SgpSamError('bad-argument', `lesion '${this.name}': ${this.gone}`);
      return work(this.session, { ...options, signal });
    }, options.signal);
  }

  addPoint(point: PointPrompt, options?: CallOptions) {
    return this.run(
      (session, own) => session.addClick({ at: this.voxel(point), label: point.label ?? 1 }, own),
      options,
    );
  }

  addBox(box: BoxPrompt, options?: CallOptions) {
    return this.run((session, own) => session.addBox(this.boxOf(box), own), options);
  }

  /** The box of voxels that holds a box; one in the world has corners that may lie anywhere on an oblique grid. */
  private boxOf(box: BoxPrompt): VoxelBox {
    const world = 'mm' in box;
    const [a, b] = world ? box.mm : box.ijk;
    const corners = Array.from({ length: 8 }, (_, n): Vec3 => {
      const pick = (axis: 0 | 1 | 2) => (n & (1 << axis) ? b : a)[axis];
      return [pick(0), pick(1), pick(2)];
    }).map((corner) => this.voxel(world ? { mm: corner } : { ijk: corner }));
    return boxOfPoints(corners) as VoxelBox;
  }

  setMask(mask: Uint8Array | CroppedMask) {
    return this.run((session) => session.setMask(mask));
  }

  undo() {
    return this.run((session) => session.undo());
  }

  redo() {
    return this.run((session) => session.redo());
  }

  reset() {
    return this.run((session) => session.reset());
  }

  state() {
    return this.run((session) => session.state());
  }

  preview(gates: readonly GateSetting[], options?: CallOptions) {
    return this.run((session, own) => {
      checkGates(gates, this.owner.modules);
      return session.preview(gates, own);
    }, options);
  }

  recompute(options?: CallOptions) {
    return this.run((session, own) => session.recompute(own), options);
  }

  actions(): Promise<readonly Action[]> {
    return this.run(async (session) => session.actions);
  }

  apply(action: Action, options?: CallOptions) {
    return this.run((session, own) => session.apply(action, own), options);
  }
}

class LocalVolume implements SegmenterVolume {
  readonly lesions = new Map<string, LocalLesion>();
  private disposed = false;

  constructor(
    readonly info: VolumeInfo,
    private readonly volume: Volume,
    private readonly owner: Owner,
  ) {}

  private checkOpen(): void {
    if (this.disposed) throw new SgpSamError('bad-argument', 'this volume was disposed of');
  }

  lesion(name: string): Lesion {
    this.checkOpen();
    let lesion = this.lesions.get(name);
    if (!lesion) {
      lesion = new LocalLesion(name, this.owner.session(this.volume), this.owner);
      this.lesions.set(name, lesion);
    }
    return lesion;
  }

  async remove(name: string): Promise<void> {
    const lesion = this.lesions.get(name);
    if (lesion) lesion.gone = 'it was removed';
    this.lesions.delete(name);
  }

  async image(): Promise<Uint8Array<ArrayBuffer>> {
    this.checkOpen();
    return writeVolume(this.volume, 'image.nii') as Uint8Array<ArrayBuffer>;
  }

  save(names: readonly string[], fileName?: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.owner.inTurn(async () => {
      this.checkOpen();
      if (names.length > 255) throw new SgpSamError('bad-argument', 'a file holds 255 lesions at most');
      checkKnown(names, this.lesions);
      const grid = new Uint8Array(this.volume.data.length);
      for (const [n, name] of names.entries()) {
        const state = await this.lesions.get(name)?.session.state();
        if (state) paintCrop(state.crop, grid, n + 1);
      }
      return writeMask(this.volume, grid, fileName) as Uint8Array<ArrayBuffer>;
    });
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    for (const lesion of this.lesions.values()) lesion.gone = 'its volume was disposed of';
    this.lesions.clear();
    this.owner.forget(this);
  }
}

export class LocalSegmenter implements Segmenter, Owner {
  private readonly volumes = new Set<LocalVolume>();
  private working: Promise<unknown> = Promise.resolve();
  private gates: readonly GateSetting[];
  /** Fires when the segmenter is disposed of: what is under way stops. */
  private readonly ending = new AbortController();
  private disposing: Promise<void> | undefined;

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
      if (options.gates) {
        try {
          checkGates(options.gates, model.sites.length);
        } catch (error) {
          engine.dispose();
          throw error;
        }
      }
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

  get modules(): number {
    return this.model.sites.length;
  }

  /** One call after the other, whatever lesion it is for: the device holds one embedding. */
  inTurn<R>(work: (signal: AbortSignal) => Promise<R>, signal?: AbortSignal | undefined): Promise<R> {
    const ending = this.ending.signal;
    const result = this.working.then(() => {
      this.checkOpen();
      checkAborted(signal);
      return work(signal ? AbortSignal.any([signal, ending]) : ending);
    });
    this.working = result.catch(() => {});
    return result;
  }

  private checkOpen(): void {
    if (this.disposing) throw new SgpSamError('bad-argument', 'this segmenter was disposed of');
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
          : ArrayBuffer.isView(input)
            ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
            : input;
    const { channel, progress, signal } = options;
    const volume =
      file instanceof Uint8Array
        ? await readNifti(file, { name, channel, progress, signal })
        : volumeOf(file, name);
    this.checkOpen();
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
      checkGates(gates, this.modules);
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
        this.openDevice,
        { ...this.options, progress, signal, device },
        this.opened,
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
