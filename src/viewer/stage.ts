/** What is seen: a scan in NiiVue, lesions over it, clicks in it. */
import { MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue';
import { fractionOfVoxel, NiivueOverlay, voxelAtCanvas, voxelAtFraction } from '../adapters/niivue.js';
import type { CroppedMask, VoxelBox } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';
import { colourOf } from './colours.js';

/** A click is not a drag: at most so many CSS pixels between down and up. */
const CLICK_SLOP = 4;

export class Stage {
  /** For the console and tests. */
  readonly nv: Niivue;
  private overlay: NiivueOverlay | undefined;
  private ready: Promise<unknown>;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.nv = new Niivue({
      backColor: [0, 0, 0, 1],
      show3Dcrosshair: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarForceRender: true,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      isColorbar: false,
      logLevel: 'error',
      dragAndDropEnabled: false,
      loadingText: '',
    });
    this.ready = this.nv.attachToCanvas(canvas);
  }

  /** Shows an image (NIfTI bytes), without lesions. */
  async show(image: Uint8Array<ArrayBuffer>, name: string): Promise<void> {
    await this.ready;
    const volume = await NVImage.loadFromUrl({ url: image.buffer, name: `${name}.nii` });
    for (const old of [...this.nv.volumes]) this.nv.removeVolume(old);
    this.nv.addVolume(volume);
    this.nv.setSliceType(SLICE_TYPE.MULTIPLANAR);
    this.nv.drawOpacity = 0.5;
    this.nv.setDrawColormap({
      R: [0, ...this.channel(0)],
      G: [0, ...this.channel(1)],
      B: [0, ...this.channel(2)],
      A: [0, ...Array(255).fill(255)],
      I: Array.from({ length: 256 }, (_, n) => n),
      labels: [],
    } as unknown as string);
    this.overlay = new NiivueOverlay(this.nv as unknown as ConstructorParameters<typeof NiivueOverlay>[0]);
    this.nv.drawScene();
  }

  private channel(c: 0 | 1 | 2): number[] {
    return Array.from({ length: 255 }, (_, n) => colourOf(n + 1)[c]);
  }

  update(value: number, crop: CroppedMask, changed?: VoxelBox): void {
    this.overlay?.update(value, crop, changed);
  }

  setVisible(value: number, visible: boolean): void {
    this.overlay?.setVisible(value, visible);
  }

  remove(value: number): void {
    this.overlay?.remove(value);
  }

  /** Takes all lesions away. */
  clear(): void {
    this.overlay?.clear();
  }

  /** The voxel at the crosshair. */
  get crosshair(): Vec3 {
    return voxelAtFraction(this.like, this.nv.scene.crosshairPos);
  }

  /** Moves the crosshair to a voxel of the file. */
  goTo(voxel: Vec3): void {
    this.nv.scene.crosshairPos = fractionOfVoxel(this.like, voxel);
    this.nv.drawScene();
  }

  /** Moves with another stage, and the other way round, from what that one shows now; or no longer. */
  follow(other: Stage, on: boolean): void {
    const options = { '2d': true, '3d': true };
    this.nv.broadcastTo(on ? [other.nv] : [], options);
    other.nv.broadcastTo(on ? [this.nv] : [], options);
    if (on) this.lookAt(other);
  }

  /** Puts the crosshair where another stage has it. */
  lookAt(other: Stage): void {
    if (this.nv.volumes.length === 0) return;
    this.nv.scene.crosshairPos = [...other.nv.scene.crosshairPos] as typeof this.nv.scene.crosshairPos;
    this.nv.drawScene();
  }

  private get like() {
    return this.nv as unknown as Parameters<typeof voxelAtCanvas>[0];
  }

  /** Calls back with the voxel (of the file, continuous) that was clicked or chosen by Enter. */
  onClick(take: (voxel: Vec3, remove: boolean) => void): void {
    let down: { x: number; y: number } | undefined;
    this.canvas.addEventListener('pointerdown', ({ clientX: x, clientY: y, button }) => {
      down = button === 0 ? { x, y } : undefined;
    });
    // Anywhere, so that a press that ends elsewhere is forgotten.
    document.addEventListener('pointerup', ({ clientX: x, clientY: y, shiftKey, target }) => {
      const began = down;
      down = undefined;
      if (!began || target !== this.canvas || this.nv.volumes.length === 0) return;
      if (Math.hypot(x - began.x, y - began.y) > CLICK_SLOP) return;
      const corner = this.canvas.getBoundingClientRect();
      // The canvas's own pixels, whatever NiiVue makes of the device's ratio.
      const scale = this.canvas.width / corner.width;
      const voxel = voxelAtCanvas(this.like, [(x - corner.left) * scale, (y - corner.top) * scale]);
      if (voxel) take(voxel, shiftKey);
    });
    const moves: Record<string, Vec3> = {
      ArrowLeft: [-1, 0, 0],
      ArrowRight: [1, 0, 0],
      ArrowDown: [0, -1, 0],
      ArrowUp: [0, 1, 0],
      PageDown: [0, 0, -1],
      PageUp: [0, 0, 1],
    };
    // Before NiiVue's own keys.
    this.canvas.addEventListener(
      'keydown',
      (event) => {
        if (this.nv.volumes.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
        const move = moves[event.key];
        if (move) this.nv.moveCrosshairInVox(...move);
        else if (event.key === 'Enter') take(this.crosshair, event.shiftKey);
        else return;
        event.preventDefault();
        event.stopImmediatePropagation();
      },
      { capture: true },
    );
  }

  redraw(): void {
    this.nv.resizeListener();
    this.nv.drawScene();
  }
}
