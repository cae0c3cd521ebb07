/**
 * `sgp-sam/niivue`: lesions as NiiVue's drawing, and clicks on NiiVue's canvas as voxels. Nothing of NiiVue is imported; the
 * host hands its instance in (tested with 0.69). Only the changed box is written and uploaded, whatever the volume's size.
 */
import { SgpSamError } from '../base/errors.js';
import { boxSizes, type CroppedMask, inCrop, unionBox, type VoxelBox } from '../imaging/crop.js';
import type { Vec3 } from '../imaging/types.js';

/** The part of a NiiVue instance that is used. */
export interface NiivueLike {
  readonly volumes: readonly {
    /** Per RAS axis (from index 0), how far a step goes in the file's order. */
    readonly img2RASstep?: number[] | undefined;
    /** Sizes along R, A, S from index 1. */
    readonly dimsRAS?: number[] | undefined;
  }[];
  drawBitmap: Uint8Array | null;
  readonly drawTexture: WebGLTexture | null;
  readonly gl: WebGL2RenderingContext;
  readonly opts: { readonly is2DSliceShader?: boolean; readonly smoothDrawing?: number };
  /** An empty `drawBitmap` of the first volume's size. */
  createEmptyDrawing(): void;
  /** Uploads all of `drawBitmap`. */
  refreshDrawing(isForceRedraw?: boolean): void;
  /** Draws what is uploaded. */
  drawScene(): void;
  /** Pixels of the canvas → 0 to 1 along R, A and S; below 0 outside all slices. */
  canvasPos2frac(position: [number, number]): ArrayLike<number>;
}

/** One of the file's axes as NiiVue runs through it. */
interface RasAxis {
  /** 0 i, 1 j, 2 k. */
  readonly source: number;
  readonly flip: boolean;
  readonly size: number;
}

function rasAxes(nv: NiivueLike): readonly [RasAxis, RasAxis, RasAxis] {
  const [volume] = nv.volumes;
  const { img2RASstep: steps, dimsRAS: dims } = volume ?? {};
  if (!steps || !dims) {
    throw new SgpSamError('bad-argument', 'NiiVue shows no volume', 'Load the volume into NiiVue first.');
  }
  // The axis with steps of 1 is i, the next larger ones j and k; where two have the same step, the first has one voxel.
  const order = [0, 1, 2].sort(
    (a, b) => Math.abs(steps[a]) - Math.abs(steps[b]) || dims[a + 1] - dims[b + 1],
  );
  return [0, 1, 2].map(
    (a): RasAxis => ({
      source: order.indexOf(a),
      flip: steps[a] < 0,
      size: dims[a + 1],
    }),
  ) as unknown as readonly [RasAxis, RasAxis, RasAxis];
}

/**
 * The voxel (of the file, continuous) under a point of NiiVue's canvas.
 * @param position in the canvas's own pixels: CSS pixels from its corner times the device pixel ratio
 * @returns undefined outside all slices, and on the 3D rendering
 */
export function voxelAtCanvas(nv: NiivueLike, position: [number, number]): Vec3 | undefined {
  const frac = nv.canvasPos2frac(position);
  if (!(frac[0] >= 0 && frac[1] >= 0 && frac[2] >= 0)) return undefined;
  return voxelAtFraction(nv, frac);
}

/** The voxel (of the file, continuous) at NiiVue's own coordinates, 0 to 1 along R, A and S: its crosshair, for instance. */
export function voxelAtFraction(nv: NiivueLike, frac: ArrayLike<number>): Vec3 {
  const voxel: [number, number, number] = [0, 0, 0];
  for (const [a, { source, flip, size }] of rasAxes(nv).entries()) {
    const c = frac[a] * size - 0.5;
    voxel[source] = flip ? size - 1 - c : c;
  }
  return voxel;
}

/** NiiVue's coordinates of a voxel of the file: where to set its crosshair. */
export function fractionOfVoxel(nv: NiivueLike, voxel: Vec3): [number, number, number] {
  return rasAxes(nv).map(({ source, flip, size }) => {
    const c = voxel[source];
    return ((flip ? size - 1 - c : c) + 0.5) / size;
  }) as [number, number, number];
}

/** Lesions of one volume as NiiVue's drawing: each has a value of its own (1 to 255), later ones lie on top. */
export class NiivueOverlay {
  private readonly lesions = new Map<number, { crop: CroppedMask; visible: boolean }>();

  /** @param nv with the segmented volume as its first */
  constructor(private readonly nv: NiivueLike) {
    nv.createEmptyDrawing();
  }

  /**
   * Shows a lesion's new mask.
   * @param changed where it differs from what was shown; all of both unless given
   */
  update(value: number, crop: CroppedMask, changed?: VoxelBox | undefined): void {
    if (!(Number.isInteger(value) && value >= 1 && value <= 255))
      throw new SgpSamError('bad-argument', `${value} is no drawing value: 1 to 255`);
    const before = this.lesions.get(value);
    this.lesions.set(value, { crop, visible: before?.visible ?? true });
    this.paint(changed ?? unionBox(before?.crop.box, crop.box));
  }

  /** Shows or hides a lesion. */
  setVisible(value: number, visible: boolean): void {
    const lesion = this.lesions.get(value);
    if (!lesion || lesion.visible === visible) return;
    lesion.visible = visible;
    this.paint(lesion.crop.box);
  }

  /** Removes a lesion; a value that is not shown is no error. */
  remove(value: number): void {
    const lesion = this.lesions.get(value);
    if (!lesion) return;
    this.lesions.delete(value);
    this.paint(lesion.crop.box);
  }

  /** Removes all lesions. */
  clear(): void {
    for (const value of [...this.lesions.keys()]) this.remove(value);
  }

  /** Writes what all lesions say of a box into the drawing, and that part of the texture. */
  private paint(box: VoxelBox | undefined): void {
    const { nv } = this;
    if (!box) return;
    const axes = rasAxes(nv);
    if (!nv.drawBitmap) nv.createEmptyDrawing();
    const bitmap = nv.drawBitmap;
    if (!bitmap) return;
    const shown = [...this.lesions].filter(([, { visible }]) => visible).reverse();
    const first = axes.map(({ source, flip, size }) => (flip ? size - 1 - box.max[source] : box.min[source]));
    const sizes = boxSizes(box);
    const [nx, ny, nz] = axes.map(({ source }) => sizes[source]);
    const part = new Uint8Array(nx * ny * nz);
    const voxel: [number, number, number] = [0, 0, 0];
    const place = (a: 0 | 1 | 2, at: number) => {
      const { source, flip } = axes[a];
      voxel[source] = flip ? box.max[source] - at : box.min[source] + at;
    };
    for (let z = 0, at = 0; z < nz; z++) {
      place(2, z);
      for (let y = 0; y < ny; y++) {
        place(1, y);
        const row = first[0] + axes[0].size * (first[1] + y + axes[1].size * (first[2] + z));
        for (let x = 0; x < nx; x++, at++) {
          place(0, x);
          const top = shown.find(([, { crop }]) => inCrop(crop, voxel[0], voxel[1], voxel[2]));
          part[at] = bitmap[row + x] = top?.[0] ?? 0;
        }
      }
    }
    this.upload([first[0], first[1], first[2]], [nx, ny, nz], part);
  }

  private upload([x, y, z]: Vec3, [nx, ny, nz]: Vec3, part: Uint8Array): void {
    const { nv } = this;
    const { gl, opts } = nv;
    // NiiVue has other textures for these; it then uploads all of the drawing.
    if (opts.is2DSliceShader || (opts.smoothDrawing ?? 0) > 0 || !nv.drawTexture) {
      nv.refreshDrawing(true);
      return;
    }
    gl.activeTexture(gl.TEXTURE7); // where NiiVue keeps its drawing
    gl.bindTexture(gl.TEXTURE_3D, nv.drawTexture);
    const alignment = gl.getParameter(gl.UNPACK_ALIGNMENT) as number;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, x, y, z, nx, ny, nz, gl.RED, gl.UNSIGNED_BYTE, part);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, alignment);
    nv.drawScene();
  }
}
