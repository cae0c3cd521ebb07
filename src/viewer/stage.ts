/** What is seen: a scan in NiiVue, lesions over it, clicks in it. Pointers and keys are navigate.ts's. */
import { MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue';
import { fractionOfVoxel, NiivueOverlay, voxelAtCanvas, voxelAtFraction } from '../adapters/niivue.js';
import type { CroppedMask, VoxelBox } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';
import { colourOf } from './colours.js';
import type { ReadScan } from './for-display.js';
import { Navigation } from './navigate.js';
import { drawnByCpu, limitOf } from './preview.js';
import { fullVoxel, isReduced, reduceBox, reduceCrop, reducedVoxel } from './reduce.js';

/** The crosshair: its lines' width and half its gap, CSS pixels. Where edges are not smoothed a line is whole pixels: one, and not one here and two there. */
const LINE = { smooth: 1.25, plain: 1 };
const GAP = 9;
/** How much of the body the 3D pane lets through, so that lesions in it are seen. */
const BODY = 0.35;

/** How lesions and the scan are shown. */
export interface Look {
  /** Opacity of lesions' inside and of their edge, 0 to 1. */
  readonly fill: number;
  readonly contour: number;
  readonly overlay: boolean;
  readonly crosshair: boolean;
  readonly radiological: boolean;
  readonly render: boolean;
}

export const LOOK: Look = {
  fill: 0.4,
  contour: 0.9,
  overlay: true,
  crosshair: true,
  radiological: true,
  render: true,
};

/** One rectangle of the canvas that shows something, CSS pixels from its corner. */
export interface Pane {
  readonly plane: 'axial' | 'coronal' | 'sagittal' | '3D';
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** CSS pixels per mm; 0 in 3D. */
  readonly scale: number;
}

const PLANES: readonly Pane['plane'][] = ['axial', 'coronal', 'sagittal'];

export class Stage {
  /** For the console and tests. */
  readonly nv: Niivue;
  readonly navigation: Navigation;
  /** Told whenever something was drawn. */
  onDraw: () => void = () => {};
  scan: ReadScan | undefined;
  look: Look = LOOK;
  /** Another stage that looks as this one does. */
  private twin: Stage | undefined;
  private overlay: NiivueOverlay | undefined;
  private ready: Promise<unknown>;
  /** How many changes are under way at whose end is drawn: NiiVue draws at every step of one. */
  private changes = 0;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.nv = new Niivue({
      backColor: [0, 0, 0, 1],
      show3Dcrosshair: false,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarPadPixels: 2,
      crosshairWidthUnit: 'mm',
      crosshairColor: [0.25, 0.85, 0.95, 1],
      // Letters are the page's (panes.ts): these are cut off at the canvas's edge.
      isOrientationTextVisible: false,
      isForceMouseClickToVoxelCenters: false,
      isColorbar: false,
      logLevel: 'error',
      dragAndDropEnabled: false,
      // Its own pointers and keys, the hidden ones among them, are off.
      interactive: false,
      loadingText: '',
    });
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => {
      if (this.changes > 0) return undefined as unknown as ReturnType<typeof draw>;
      let said = draw();
      if (this.fitCrosshair()) said = draw();
      this.onDraw();
      this.twin?.goAlong();
      return said;
    };
    // Smooth edges take the CPU four times as long.
    this.ready = this.nv.attachToCanvas(canvas, !drawnByCpu());
    this.navigation = new Navigation(this);
  }

  /** How many voxels may be shown here. */
  limit(): number {
    return limitOf();
  }

  /** Does what NiiVue would draw several times, and draws once. */
  async atOnce(act: () => Promise<void>): Promise<void> {
    this.changes++;
    try {
      await act();
    } finally {
      this.changes--;
    }
    this.nv.drawScene();
  }

  /** Shows a scan, without lesions. Large ones, and all where the CPU draws, without the 3D pane, which draws every voxel for every picture. */
  async show(scan: ReadScan): Promise<void> {
    await this.ready;
    const { nv } = this;
    const { data, dims, spacing, affine } = scan.shown;
    const bytes = NVImage.createNiftiArray(
      [...dims],
      [...spacing],
      [...affine],
      data instanceof Int16Array ? 4 : 16,
      new Uint8Array(data.buffer) as Uint8Array<ArrayBuffer>,
    );
    const volume = await NVImage.loadFromUrl({ url: bytes.buffer as ArrayBuffer, name: `${scan.name}.nii` });
    // NiiVue draws at each of these.
    this.scan = undefined;
    for (const old of [...nv.volumes]) nv.removeVolume(old);
    nv.setDrawColormap({
      R: [0, ...this.channel(0)],
      G: [0, ...this.channel(1)],
      B: [0, ...this.channel(2)],
      A: [0, ...Array(255).fill(255)],
      I: Array.from({ length: 256 }, (_, n) => n),
      labels: [],
    } as unknown as string);
    nv.addVolume(volume);
    this.scan = scan;
    nv.scene.crosshairPos = [0.5, 0.5, 0.5] as unknown as typeof nv.scene.crosshairPos;
    this.overlay = new NiivueOverlay(nv as unknown as ConstructorParameters<typeof NiivueOverlay>[0]);
    this.drawLook({ ...this.look, render: !isReduced(scan.factors) && !drawnByCpu() });
    this.navigation.reset();
  }

  private channel(c: 0 | 1 | 2): number[] {
    return Array.from({ length: 255 }, (_, n) => colourOf(n + 1)[c]);
  }

  setLook(look: Look): void {
    this.drawLook(look);
    this.twin?.drawLook(look);
  }

  private drawLook(look: Look): void {
    const { nv } = this;
    this.look = look;
    nv.drawOpacity = look.overlay ? Math.max(look.fill, 0.001) : 0;
    nv.drawRimOpacity = look.overlay ? look.contour : 0;
    nv.opts.isRadiologicalConvention = look.radiological;
    nv.opts.multiplanarLayout = look.render ? MULTIPLANAR_TYPE.GRID : MULTIPLANAR_TYPE.AUTO;
    nv.opts.multiplanarShowRender = look.render ? SHOW_RENDER.ALWAYS : SHOW_RENDER.NEVER;
    if (nv.renderShader) {
      nv.renderShader.use(nv.gl);
      nv.gl.uniform1f(nv.renderShader.uniforms.backOpacity ?? null, BODY);
    }
    nv.drawScene();
  }

  /** The intensities that are black and white. */
  get window(): { low: number; high: number } {
    const [volume] = this.nv.volumes;
    return { low: volume?.cal_min ?? 0, high: volume?.cal_max ?? 1 };
  }

  setWindow(low: number, high: number): void {
    this.drawWindow(low, high);
    this.twin?.drawWindow(low, high);
  }

  private drawWindow(low: number, high: number): void {
    const [volume] = this.nv.volumes;
    if (!volume) return;
    volume.cal_min = low;
    volume.cal_max = Math.max(high, low + 1e-6);
    this.nv.refreshLayers(volume, 0);
    this.drawLook(this.look);
  }

  /** The window that fits most voxels: NiiVue's, without the extremes. */
  get robust(): { low: number; high: number } {
    const [volume] = this.nv.volumes;
    return { low: volume?.robust_min ?? 0, high: volume?.robust_max ?? 1 };
  }

  /** What is where on the canvas. */
  get panes(): Pane[] {
    const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    return this.nv.screenSlices.map(({ axCorSag, leftTopWidthHeight, fovMM }) => {
      const [left, top, width, height] = leftTopWidthHeight.map((v) => v / ratio);
      const plane = PLANES[axCorSag] ?? '3D';
      return { plane, left, top, width, height, scale: plane === '3D' ? 0 : width / Math.abs(fovMM[0]) };
    });
  }

  /** Gives the crosshair its width for the zoom there is; whether that changed it. */
  private fitCrosshair(): boolean {
    const { nv } = this;
    const pane = this.panes.find(({ scale }) => scale > 0);
    const line = drawnByCpu() ? LINE.plain : LINE.smooth;
    const width = pane && this.look.crosshair ? line / pane.scale : 0;
    const changed =
      Math.abs(width - nv.opts.crosshairWidth) > 1e-3 * width ||
      (width === 0) !== (nv.opts.crosshairWidth === 0);
    if (changed) {
      nv.opts.crosshairWidth = width;
      nv.opts.crosshairGap = (2 * GAP) / line;
      if (nv.crosshairs3D) nv.crosshairs3D.mm = [Number.NaN, Number.NaN, Number.NaN];
    }
    return changed;
  }

  update(value: number, crop: CroppedMask, changed?: VoxelBox): void {
    const factors = this.scan?.factors;
    if (!factors || !isReduced(factors)) this.overlay?.update(value, crop, changed);
    else this.overlay?.update(value, reduceCrop(crop, factors), changed && reduceBox(changed, factors));
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

  private full(voxel: Vec3): Vec3 {
    const { scan } = this;
    if (!scan || !isReduced(scan.factors)) return voxel;
    // Blocks at the upper ends may reach beyond the scan.
    return fullVoxel(voxel, scan.factors).map((v, a) => Math.min(v, scan.dims[a] - 1)) as unknown as Vec3;
  }

  /** The voxel at the crosshair. */
  get crosshair(): Vec3 {
    return this.full(voxelAtFraction(this.like, this.nv.scene.crosshairPos));
  }

  /** Moves the crosshair to a voxel of the file. */
  goTo(voxel: Vec3): void {
    const shown = this.scan ? reducedVoxel(voxel, this.scan.factors) : voxel;
    this.nv.scene.crosshairPos = fractionOfVoxel(this.like, shown);
    this.nv.drawScene();
  }

  /** Which slice of the file a plane shows, from 0, and how many there are, counted to the right, forward or up. */
  sliceOf(plane: Exclude<Pane['plane'], '3D'>): { at: number; of: number } {
    const axis = { sagittal: 0, coronal: 1, axial: 2 }[plane];
    const ends = [0, 1].map((v) => {
      const frac = [0.5, 0.5, 0.5];
      frac[axis] = v;
      return this.full(voxelAtFraction(this.like, frac));
    });
    // The one of the file's axes that runs along this one.
    const steps = [0, 1, 2].map((a) => Math.abs(ends[1][a] - ends[0][a]));
    const source = steps.indexOf(Math.max(...steps));
    const of = this.scan?.dims[source] ?? 1;
    const voxel = Math.round(this.crosshair[source]);
    const at = ends[1][source] < ends[0][source] ? of - 1 - voxel : voxel;
    return { at: Math.max(0, Math.min(of - 1, at)), of };
  }

  /** The voxel (of the file, continuous) under a point, CSS pixels from the canvas's corner; undefined outside all slices. */
  voxelAt(x: number, y: number): Vec3 | undefined {
    if (this.nv.volumes.length === 0) return undefined;
    // The canvas's own pixels, whatever NiiVue makes of the device's ratio.
    const ratio = this.canvas.width / this.canvas.clientWidth;
    const voxel = voxelAtCanvas(this.like, [x * ratio, y * ratio]);
    return voxel && this.full(voxel);
  }

  /** The value shown at a voxel of the file, and where that is, mm (RAS+). */
  valueAt(voxel: Vec3): { value: number; mm: Vec3 } | undefined {
    const [volume] = this.nv.volumes;
    if (!volume || !this.scan) return undefined;
    const shown = reducedVoxel(voxel, this.scan.factors);
    const { affine, dims } = this.scan.shown;
    const [i, j, k] = shown;
    const mm = [0, 1, 2].map(
      (r) => affine[4 * r] * i + affine[4 * r + 1] * j + affine[4 * r + 2] * k + affine[4 * r + 3],
    );
    const [x, y, z] = shown.map((v, a) => Math.min(dims[a] - 1, Math.max(0, Math.round(v))));
    const value = Number(volume.img?.[x + dims[0] * (y + dims[1] * z)] ?? Number.NaN);
    return { value, mm: mm as unknown as Vec3 };
  }

  /** Moves with another stage, and the other way round, from what that one shows now; window and look too; or no longer. */
  follow(other: Stage, on: boolean): void {
    this.twin = on ? other : undefined;
    other.twin = on ? this : undefined;
    // Fields are the other's.
    this.navigation.onWindow = () => other.navigation.onWindow();
    if (on) this.lookLike(other);
  }

  /** Where it is looked from: crosshair, zoom and place, the turn of 3D. */
  private get place(): readonly number[] {
    const { crosshairPos, pan2Dxyzmm, renderAzimuth, renderElevation, volScaleMultiplier } = this.nv.scene;
    return [...crosshairPos, ...pan2Dxyzmm, renderAzimuth, renderElevation, volScaleMultiplier];
  }

  /** Looks from where the other stage does. NiiVue's own broadcast works only while its canvas has the focus. */
  private goAlong(): void {
    const { nv, twin } = this;
    if (!twin || nv.volumes.length === 0 || String(this.place) === String(twin.place)) return;
    const { crosshairPos, pan2Dxyzmm, renderAzimuth, renderElevation, volScaleMultiplier } = twin.nv.scene;
    nv.scene.crosshairPos = [...crosshairPos] as typeof crosshairPos;
    nv.scene.pan2Dxyzmm = [...pan2Dxyzmm] as typeof pan2Dxyzmm;
    Object.assign(nv.scene, { renderAzimuth, renderElevation, volScaleMultiplier });
    nv.drawScene();
  }

  /** Takes over from another stage of the same scan what is shown and how: planes, place, window, look. */
  lookLike(other: Stage): void {
    if (this.nv.volumes.length === 0) return;
    const { low, high } = other.window;
    this.look = other.look;
    this.showPlane(other.navigation.alone);
    this.drawWindow(low, high);
    this.goAlong();
  }

  private get like() {
    return this.nv as unknown as Parameters<typeof voxelAtCanvas>[0];
  }

  /** Calls back with the voxel (of the file, continuous) that was clicked or chosen by Enter. */
  onClick(take: (voxel: Vec3, remove: boolean) => void): void {
    this.navigation.onClick = take;
  }

  /** One plane alone, or all of them. */
  setPlane(plane: Pane['plane'] | undefined): void {
    this.showPlane(plane);
    this.twin?.showPlane(plane);
  }

  private showPlane(plane: Pane['plane'] | undefined): void {
    const types = {
      axial: SLICE_TYPE.AXIAL,
      coronal: SLICE_TYPE.CORONAL,
      sagittal: SLICE_TYPE.SAGITTAL,
      '3D': SLICE_TYPE.RENDER,
    };
    this.navigation.alone = plane;
    this.nv.setSliceType(plane ? types[plane] : SLICE_TYPE.MULTIPLANAR);
  }

  redraw(): void {
    this.nv.resizeListener();
    this.nv.drawScene();
  }
}
