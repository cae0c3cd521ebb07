/**
 * `sgp-sam/niivue`: NiiVue's volume as the image that is segmented, lesions as its drawing, clicks on its canvas as voxels. Nothing of
 * NiiVue is imported; the host hands its instance in (tested with 0.69). Only the changed box is written and uploaded, whatever the
 * volume's size.
 */
import { SgpSamError } from '../base/errors.js';
import { boxSizes, type VoxelBox } from '../imaging/crop.js';
import type { HostImage } from '../imaging/host-image.js';
import type { Vec3 } from '../imaging/types.js';
import { LesionLayers } from './layers.js';

/** A typed array of numbers. */
export interface NiivueScalars extends ArrayLike<number> {
  /** The same memory from `begin` to `end`. */
  subarray(begin: number, end: number): ArrayLike<number>;
}

/** The part of NiiVue's volume (`nv.volumes[0]`) that is its image. */
export interface NiivueImage {
  /** All voxels of all frames, in the file's order and as stored. */
  readonly img?: NiivueScalars | undefined;
  readonly hdr: {
    /** NIfTI's: from index 1 the sizes along i, j, k. */
    readonly dims: number[];
    /** Voxel → world (RAS+), four rows. */
    readonly affine: number[][];
    readonly datatypeCode: number;
    readonly scl_slope: number;
    readonly scl_inter: number;
  } | null;
  /** The frame that is shown, of several. */
  readonly frame4D?: number | undefined;
}

/** NIfTI's codes of what is not one real number a voxel: complex numbers, RGB, RGBA. */
const COLOURS = [32, 128, 1792, 2048, 2304];

/**
 * The image that NiiVue holds, for `openVolume`: its shown frame with its values, where NiiVue shows it, whatever file it was.
 * @throws SgpSamError `bad-argument` before it is loaded, and for colours
 */
export function niivueImage({ img, hdr, frame4D = 0 }: NiivueImage): HostImage {
  if (!img || !hdr)
    throw new SgpSamError('bad-argument', 'NiiVue has not loaded this volume', 'Wait for it.');
  const [ni, nj, nk] = [1, 2, 3].map((n) => Math.max(1, hdr.dims[n] ?? 1));
  const voxels = ni * nj * nk;
  if (COLOURS.includes(hdr.datatypeCode))
    throw new SgpSamError(
      'bad-argument',
      'NiiVue shows colours or complex numbers here',
      'Load the scan itself.',
    );
  const { scl_slope: slope, scl_inter: intercept, affine } = hdr;
  const scaled = Number.isFinite(slope) && slope !== 0 && Number.isFinite(intercept);
  return {
    scalars: img.subarray(voxels * frame4D, voxels * (frame4D + 1)),
    dimensions: [ni, nj, nk],
    // The affine's columns as they are: spacing × direction is again exactly these.
    spacing: [1, 1, 1],
    direction: [0, 1, 2].flatMap((axis) => [0, 1, 2].map((world) => affine[world][axis])),
    origin: [0, 1, 2].map((world) => affine[world][3]),
    space: 'RAS',
    ...(scaled ? { slope, intercept } : {}),
  };
}

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
export class NiivueOverlay extends LesionLayers {
  /** @param nv with the segmented volume as its first */
  constructor(private readonly nv: NiivueLike) {
    super();
    nv.createEmptyDrawing();
  }

  /** Into the drawing, and that part of the texture. */
  protected override paint(box: VoxelBox, valueAt: (i: number, j: number, k: number) => number): void {
    const { nv } = this;
    const axes = rasAxes(nv);
    if (!nv.drawBitmap) nv.createEmptyDrawing();
    const bitmap = nv.drawBitmap;
    if (!bitmap) return;
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
          part[at] = bitmap[row + x] = valueAt(voxel[0], voxel[1], voxel[2]);
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
