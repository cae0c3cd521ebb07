/** A local segmenter's volumes and their lesions. */
import { need, needOptions } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { worldToVoxel } from '../imaging/clicks.js';
import { type CroppedMask, paintCrop, type VoxelBox } from '../imaging/crop.js';
import { writeMask, writeVolume } from '../imaging/nifti-write.js';
import type { Vec3, Volume } from '../imaging/types.js';
import { boxOfPoints } from './cubes.js';
import { checkGates, placeOf } from './inputs.js';
import type { CallOptions, LesionSession } from './lesion-session.js';
import type { Action } from './lesion-state.js';
import {
  type BoxPrompt,
  checkKnown,
  type Lesion,
  type PointPrompt,
  type SegmenterVolume,
  type VolumeInfo,
} from './segmenter.js';

/** What lesions need of their segmenter. */
export interface Owner {
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

  private voxel(where: string, own: unknown, world: boolean): Vec3 {
    need(where, own, 'three finite numbers', 'bad-prompt');
    const [i, j, k] = own as Vec3;
    return world ? worldToVoxel(this.session.volume, [i, j, k]) : [i, j, k];
  }

  private async run<R>(
    work: (session: LesionSession, options: CallOptions) => Promise<R>,
    options: CallOptions = {},
  ): Promise<R> {
    needOptions(`lesion '${this.name}'`, options);
    return this.owner.inTurn(async (signal) => {
      if (this.gone) throw new SgpSamError('bad-argument', `lesion '${this.name}': ${this.gone}`);
      return work(this.session, { ...options, signal });
    }, options.signal);
  }

  addPoint(point: PointPrompt, options?: CallOptions) {
    return this.run((session, options) => {
      const { world, own } = placeOf('addPoint: point', point);
      return session.addClick(
        { at: this.voxel('addPoint: point', own, world), label: point.label ?? 1 },
        options,
      );
    }, options);
  }

  addBox(box: BoxPrompt, options?: CallOptions) {
    return this.run((session, own) => session.addBox(this.boxOf(box), own), options);
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

export class LocalVolume implements SegmenterVolume {
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
    need('lesion: name', name, 'a text');
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
      checkKnown(names, this.lesions);
      if (names.length > 255) throw new SgpSamError('bad-argument', 'a file holds 255 lesions at most');
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
