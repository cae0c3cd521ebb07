/** Lesions of one volume in a drawing that a viewer has, whatever the viewer: what is over what, and which box has changed. */
import { SgpSamError } from '../base/errors.js';
import { type CroppedMask, inCrop, unionBox, type VoxelBox } from '../imaging/crop.js';

/** Each lesion has a value of its own (1 to 255), later ones lie on top. */
export abstract class LesionLayers {
  private readonly lesions = new Map<number, { crop: CroppedMask; visible: boolean }>();

  /**
   * Shows a lesion's new mask.
   * @param changed where it differs from what was shown; all of both unless given
   * @throws SgpSamError `bad-argument` for a value that is none
   */
  update(value: number, crop: CroppedMask, changed?: VoxelBox | undefined): void {
    if (!(Number.isInteger(value) && value >= 1 && value <= 255))
      throw new SgpSamError('bad-argument', `${value} is no drawing value: 1 to 255`);
    const before = this.lesions.get(value);
    this.lesions.set(value, { crop, visible: before?.visible ?? true });
    this.paintIn(changed ?? unionBox(before?.crop.box, crop.box));
  }

  /** Shows or hides a lesion. */
  setVisible(value: number, visible: boolean): void {
    const lesion = this.lesions.get(value);
    if (!lesion || lesion.visible === visible) return;
    lesion.visible = visible;
    this.paintIn(lesion.crop.box);
  }

  /** Removes a lesion; a value that is not shown is no error. */
  remove(value: number): void {
    const lesion = this.lesions.get(value);
    if (!lesion) return;
    this.lesions.delete(value);
    this.paintIn(lesion.crop.box);
  }

  /** Removes all lesions. */
  clear(): void {
    for (const value of [...this.lesions.keys()]) this.remove(value);
  }

  private paintIn(box: VoxelBox | undefined): void {
    if (!box) return;
    const shown = [...this.lesions].filter(([, { visible }]) => visible).reverse();
    this.paint(box, (i, j, k) => shown.find(([, { crop }]) => inCrop(crop, i, j, k))?.[0] ?? 0);
  }

  /**
   * Writes what all lesions say of a box into the viewer's drawing.
   * @param valueAt of a voxel of the volume: the value of the lesion on top, 0 where there is none
   */
  protected abstract paint(box: VoxelBox, valueAt: (i: number, j: number, k: number) => number): void;
}
