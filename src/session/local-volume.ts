/** What a local segmenter's volumes and lesions do when they are asked through their handles. */
import { need, needOptions } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { worldToVoxel } from '../imaging/clicks.js';
import { type CroppedMask, paintCrop, type VoxelBox } from '../imaging/crop.js';
import type { SegmentToWrite } from '../imaging/dicom-seg/codes.js';
import { isDicomName, writeDicomSeg } from '../imaging/formats/dicom-seg.js';
import type { MaskFile } from '../imaging/formats/masks.js';
import { isSegNrrdName, readers } from '../imaging/formats/open.js';
import { writeMask, writeVolume } from '../imaging/nifti-write.js';
import type { Vec3, Volume } from '../imaging/types.js';
import { boxOfPoints } from './cubes.js';
import { checkHere, invoke, volumeHandle } from './handles.js';
import { bytesOf, checkGates, placeOf } from './inputs.js';
import type { CallOptions, LesionSession } from './lesion-session.js';
import type { Action } from './lesion-state.js';
import type {
  BoxPrompt,
  Lesion,
  Methods,
  PointPrompt,
  SaveOptions,
  SegmenterVolume,
  VolumeInfo,
} from './segmenter.js';

/** What volumes need of their segmenter. */
export interface Owner {
  readonly modules: number;
  session(volume: Volume): LesionSession;
  /** One call after the other, stopped when the segmenter is disposed of. */
  inTurn<R>(work: (signal: AbortSignal) => Promise<R>, signal?: AbortSignal | undefined): Promise<R>;
  forget(volume: LocalVolume): void;
}

class LocalLesion implements Methods<Lesion> {
  constructor(
    readonly session: LesionSession,
    private readonly modules: number,
  ) {}

  private voxel(where: string, own: unknown, world: boolean): Vec3 {
    need(where, own, 'three finite numbers', 'bad-prompt');
    const [i, j, k] = own as Vec3;
    return world ? worldToVoxel(this.session.volume, [i, j, k]) : [i, j, k];
  }

  addPoint(point: PointPrompt, options?: CallOptions) {
    const { world, own } = placeOf('addPoint: point', point);
    const at = this.voxel('addPoint: point', own, world);
    return this.session.addClick({ at, label: point.label ?? 1 }, options);
  }

  addBox(box: BoxPrompt, options?: CallOptions) {
    return this.session.addBox(this.boxOf(box), options);
  }

  /** The box of voxels that holds a box; one in the world has corners that may lie anywhere on an oblique grid. */
  private boxOf(box: BoxPrompt): VoxelBox {
    const { world, own } = placeOf('addBox: box', box);
    need('addBox: box', own, 'a list', 'bad-prompt');
    const [a, b] = own as readonly [Vec3, Vec3];
    for (const corner of [a, b]) need('addBox: corner', corner, 'three finite numbers', 'bad-prompt');
    const corners = Array.from({ length: 8 }, (_, n): Vec3 => {
      const pick = (axis: 0 | 1 | 2) => (n & (1 << axis) ? b : a)[axis];
      return [pick(0), pick(1), pick(2)];
    }).map((corner) => this.voxel('addBox: corner', corner, world));
    return boxOfPoints(corners) as VoxelBox;
  }

  preview(gates: readonly GateSetting[], options?: CallOptions) {
    checkGates(gates, this.modules);
    return this.session.preview(gates, options);
  }

  async actions(): Promise<readonly Action[]> {
    return this.session.actions;
  }

  setMask = (mask: Uint8Array | CroppedMask) => this.session.setMask(mask);
  undo = () => this.session.undo();
  redo = () => this.session.redo();
  reset = () => this.session.reset();
  state = () => this.session.state();
  recompute = (options?: CallOptions) => this.session.recompute(options);
  apply = (action: Action, options?: CallOptions) => this.session.apply(action, options);
}

export class LocalVolume implements Methods<SegmenterVolume> {
  private readonly lesions = new Map<string, LocalLesion>();
  private disposed = false;
  readonly handle: SegmenterVolume;

  constructor(
    readonly info: VolumeInfo,
    readonly volume: Volume,
    private readonly owner: Owner,
  ) {
    this.handle = volumeHandle(info, (target) => async (method, args, options) => {
      if (!target) return invoke(this, method, args);
      const lesion = this.lesionOf(target.name);
      return owner.inTurn(async (signal) => {
        checkHere(target);
        return invoke(lesion, method, args, options && { ...options, signal });
      }, options?.signal);
    });
  }

  /** The sessions of the lesions that were asked anything so far. */
  get sessions(): LesionSession[] {
    return [...this.lesions.values()].map(({ session }) => session);
  }

  private lesionOf(name: string): LocalLesion {
    const lesion =
      this.lesions.get(name) ?? new LocalLesion(this.owner.session(this.volume), this.owner.modules);
    this.lesions.set(name, lesion);
    return lesion;
  }

  async remove(name: string): Promise<void> {
    this.lesions.delete(name);
  }

  async image(): Promise<Uint8Array<ArrayBuffer>> {
    return writeVolume(this.volume, 'image.nii') as Uint8Array<ArrayBuffer>;
  }

  async save(
    names: readonly string[],
    fileName?: string,
    options: SaveOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    needOptions('save', options);
    const lesions = names.map((name) => this.lesionOf(name));
    return this.owner.inTurn(async () => {
      if (this.disposed) throw new SgpSamError('bad-argument', 'this volume was disposed of');
      if (fileName !== undefined && isDicomName(fileName))
        return writeDicomSeg(this.volume, await this.segmentsOf(names, lesions, options), options);
      if (fileName !== undefined && isSegNrrdName(fileName))
        return (await readers()).writeSegments(
          await this.segmentsOf(names, lesions, options),
          this.volume,
        ) as Promise<Uint8Array<ArrayBuffer>>;
      if (names.length > 255) throw new SgpSamError('bad-argument', 'a file holds 255 lesions at most');
      const grid = new Uint8Array(this.volume.data.length);
      for (const [n, { session }] of lesions.entries()) paintCrop((await session.state()).crop, grid, n + 1);
      return writeMask(this.volume, grid, fileName) as Uint8Array<ArrayBuffer>;
    });
  }

  /** What is written of lesions, each under its own name unless the options give another. */
  private async segmentsOf(
    names: readonly string[],
    lesions: readonly LocalLesion[],
    { segments = {} }: SaveOptions,
  ): Promise<SegmentToWrite[]> {
    const states = await Promise.all(lesions.map(({ session }) => session.state()));
    return names.map((name, n) => ({ name, ...segments[name], mask: states[n].crop }));
  }

  async labels(names: readonly string[], options: SaveOptions = {}): Promise<string> {
    need('labels: names', names, 'a list');
    needOptions('labels', options);
    const lesions = names.map((name) => this.lesionOf(name));
    return this.owner.inTurn(async () =>
      (await readers()).labelsTable(await this.segmentsOf(names, lesions, options), this.volume),
    );
  }

  async masks(file: Blob | ArrayBuffer | Uint8Array, name?: string): Promise<MaskFile> {
    need('masks: file', file, 'an object');
    const own = name ?? ('name' in file ? String(file.name) : 'mask');
    return (await readers()).readMasks(await bytesOf(file), own, this.volume);
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    this.lesions.clear();
    this.owner.forget(this);
  }
}
