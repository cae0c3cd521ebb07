/** Pointers on the canvas: the crosshair, slices, zoom about the pointer, pan, window and level, one plane alone, clicks. */
import type { Vec3 } from '../imaging/types.js';
import type { Pane, Stage } from './stage.js';

/** A click is not a drag: at most so many CSS pixels between down and up. */
const CLICK_SLOP = 4;
/** A second click within this time makes the first no click on a lesion but one half of a double click, ms. */
const DOUBLE_MS = 250;
const ZOOMS = { least: 0.5, most: 32 };
/** One press of + or one notch of a wheel. */
const STEP = 1.2;

type Drag = 'crosshair' | 'pan' | 'window' | 'rotate';

interface Held {
  readonly mode: Drag;
  readonly at: readonly [number, number];
  last: readonly [number, number];
  moved: boolean;
}

export class Navigation {
  onClick: (voxel: Vec3, remove: boolean) => void = () => {};
  /** Told where the pointer is; undefined when it is on no slice. */
  onHover: (voxel: Vec3 | undefined) => void = () => {};
  onWindow: () => void = () => {};
  /** The plane that is alone, if one is. */
  alone: Pane['plane'] | undefined;
  private held: Held | undefined;
  private readonly fingers = new Map<number, readonly [number, number]>();
  /** A click that a second one may still make a double click. */
  private waiting:
    | { timer: ReturnType<typeof setTimeout>; x: number; y: number; act: () => void }
    | undefined;

  constructor(private readonly stage: Stage) {
    const { canvas } = stage;
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    // Anywhere, so that a press that ends elsewhere is forgotten.
    document.addEventListener('pointerup', (event) => this.up(event));
    document.addEventListener('pointercancel', (event) => {
      this.fingers.delete(event.pointerId);
      this.held = undefined;
    });
    canvas.addEventListener('pointerleave', () => this.onHover(undefined));
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    // NiiVue's own handlers are off: nothing of the touch is the browser's.
    canvas.style.touchAction = 'none';
  }

  private point(event: MouseEvent): [number, number] {
    const corner = this.stage.canvas.getBoundingClientRect();
    return [event.clientX - corner.left, event.clientY - corner.top];
  }

  /** The pane under a point. */
  paneAt(x: number, y: number): Pane | undefined {
    return this.stage.panes.find(
      ({ left, top, width, height }) => x >= left && y >= top && x < left + width && y < top + height,
    );
  }

  private get empty(): boolean {
    return this.stage.nv.volumes.length === 0;
  }

  private down(event: PointerEvent): void {
    if (this.empty) return;
    const at = this.point(event);
    this.stage.canvas.focus();
    if (event.pointerType === 'touch') this.fingers.set(event.pointerId, at);
    if (this.fingers.size > 1) {
      this.held = undefined;
      return;
    }
    const in3D = this.paneAt(...at)?.plane === '3D';
    const pan = event.button === 1 || (event.button === 0 && event.ctrlKey);
    const mode: Drag = pan ? 'pan' : event.button === 2 ? 'window' : in3D ? 'rotate' : 'crosshair';
    if (event.button === 1) event.preventDefault();
    this.held = { mode, at, last: at, moved: false };
    if (mode === 'crosshair' && !event.shiftKey) this.cross(at);
    if (mode === 'rotate') this.stage.nv.mouseDown(...at);
  }

  private cross([x, y]: readonly [number, number]): void {
    const voxel = this.stage.voxelAt(x, y);
    if (voxel) this.stage.goTo(voxel);
  }

  private move(event: PointerEvent): void {
    if (this.empty) return;
    const at = this.point(event);
    if (this.fingers.size > 1 && this.fingers.has(event.pointerId)) {
      this.pinch(event.pointerId, at);
      return;
    }
    this.onHover(this.stage.voxelAt(...at));
    const { held } = this;
    if (!held) return;
    if (Math.hypot(at[0] - held.at[0], at[1] - held.at[1]) > CLICK_SLOP) held.moved = true;
    if (!held.moved) return;
    const [dx, dy] = [at[0] - held.last[0], at[1] - held.last[1]];
    if (held.mode === 'crosshair') this.cross(at);
    else if (held.mode === 'rotate') this.stage.nv.mouseMove(...at);
    else if (held.mode === 'pan') this.pan(held.at, dx, dy);
    else this.drawWindow(dx, dy);
    held.last = at;
  }

  private up(event: PointerEvent): void {
    this.fingers.delete(event.pointerId);
    const { held } = this;
    this.held = undefined;
    if (!held || event.target !== this.stage.canvas || this.empty) return;
    const [x, y] = this.point(event);
    if (held.moved || Math.hypot(x - held.at[0], y - held.at[1]) > CLICK_SLOP) return;
    if (held.mode === 'pan' || held.mode === 'window') return;
    const plane = this.paneAt(x, y)?.plane;
    const second = this.waiting;
    clearTimeout(second?.timer);
    this.waiting = undefined;
    if (second && plane && Math.hypot(x - second.x, y - second.y) <= 2 * CLICK_SLOP) {
      this.toggleAlone(plane);
      return;
    }
    // The one before, elsewhere, was a click of its own.
    second?.act();
    const voxel = this.stage.voxelAt(x, y);
    const remove = event.shiftKey;
    const act = () => {
      this.waiting = undefined;
      if (voxel) this.onClick(voxel, remove);
    };
    if (voxel) this.cross([x, y]);
    this.waiting = { timer: setTimeout(act, DOUBLE_MS), x, y, act };
  }

  private wheel(event: WheelEvent): void {
    if (this.empty) return;
    event.preventDefault();
    const [x, y] = this.point(event);
    const pane = this.paneAt(x, y);
    if (!pane) return;
    if (event.ctrlKey || event.metaKey || pane.plane === '3D') {
      // A pinch on a touch pad comes as small steps with Ctrl; a notch is worth one step.
      this.zoom(STEP ** -Math.max(-1, Math.min(1, event.deltaY / 50)), x, y);
      return;
    }
    this.slice(pane.plane, Math.sign(-event.deltaY));
    this.onHover(this.stage.voxelAt(x, y));
  }

  /** Goes so many slices up, forward or to the right. */
  slice(plane: Pane['plane'], by: number): void {
    const { nv } = this.stage;
    nv.moveCrosshairInVox(
      plane === 'sagittal' ? by : 0,
      plane === 'coronal' ? by : 0,
      plane === 'axial' ? by : 0,
    );
  }

  private pinch(id: number, at: readonly [number, number]): void {
    const before = [...this.fingers.values()];
    this.fingers.set(id, at);
    const after = [...this.fingers.values()];
    const apart = ([a, b]: (readonly [number, number])[]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const centre = ([a, b]: (readonly [number, number])[]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] as const;
    const [x, y] = centre(after);
    const [x0, y0] = centre(before);
    this.pan([x, y], x - x0, y - y0);
    if (apart(before) > 0) this.zoom(apart(after) / apart(before), x, y);
  }

  /** Zooms by a factor about a point of the canvas; about the crosshair where none is given. What is there stays there. */
  zoom(factor: number, x?: number, y?: number): void {
    const { nv } = this.stage;
    const pane = x === undefined || y === undefined ? undefined : this.paneAt(x, y);
    if (pane?.plane === '3D') {
      nv.scene.volScaleMultiplier = Math.max(0.3, Math.min(6, nv.scene.volScaleMultiplier * factor));
      nv.drawScene();
      return;
    }
    const [px, py, pz, before] = nv.scene.pan2Dxyzmm;
    const after = Math.max(ZOOMS.least, Math.min(ZOOMS.most, before * factor));
    const ratio = this.stage.canvas.width / this.stage.canvas.clientWidth;
    const frac = x === undefined || y === undefined ? undefined : nv.canvasPos2frac([x * ratio, y * ratio]);
    const about = frac && frac[0] >= 0 ? frac : nv.scene.crosshairPos;
    const [mx, my, mz] = nv.frac2mm(about as typeof nv.scene.crosshairPos);
    const d = before - after;
    nv.setPan2Dxyzmm([px + mx * d, py + my * d, pz + mz * d, after] as unknown as typeof nv.scene.pan2Dxyzmm);
  }

  /** Moves what is under a point by so many CSS pixels. */
  private pan([x, y]: readonly [number, number], dx: number, dy: number): void {
    const { nv, look } = this.stage;
    const pane = this.paneAt(x, y);
    if (!pane || pane.plane === '3D') return;
    const pan = [...nv.scene.pan2Dxyzmm];
    const zoom = pan[3];
    const across = ((look.radiological && pane.plane !== 'sagittal' ? -1 : 1) * dx * zoom) / pane.scale;
    const up = (-dy * zoom) / pane.scale;
    const [a, b] = pane.plane === 'axial' ? [0, 1] : pane.plane === 'coronal' ? [0, 2] : [1, 2];
    pan[a] += across;
    pan[b] += up;
    nv.setPan2Dxyzmm(pan as unknown as typeof nv.scene.pan2Dxyzmm);
  }

  /** Window by dragging: to the right wider, down darker, as reading rooms have it. */
  private drawWindow(dx: number, dy: number): void {
    const { low, high } = this.stage.window;
    const unit = (high - low) / 300;
    const width = Math.max(unit, high - low + dx * unit);
    const level = (low + high) / 2 + dy * unit;
    this.stage.setWindow(level - width / 2, level + width / 2);
    this.onWindow();
  }

  /** Shows a plane alone, or all again. */
  toggleAlone(plane: Pane['plane']): void {
    this.stage.setPlane(this.alone ? undefined : plane);
  }

  /** All of the scan in every pane. */
  fit(): void {
    const { nv } = this.stage;
    nv.scene.volScaleMultiplier = 1;
    nv.setPan2Dxyzmm([0, 0, 0, 1] as unknown as typeof nv.scene.pan2Dxyzmm);
  }

  /** As a scan is shown at first: all planes, fitted, in the middle. */
  reset(): void {
    this.stage.setPlane(undefined);
    this.fit();
  }
}
