/** NiiVue's panes as places: which slice is where on the canvas, and where in it a voxel lies. In CSS pixels of the canvas. */
import type { Niivue } from '@niivue/niivue';
import { fractionOfVoxel, voxelAtCanvas, voxelAtFraction } from '../adapters/niivue.js';
import type { Vec3 } from '../imaging/types.js';

type Like = Parameters<typeof voxelAtCanvas>[0];
const like = (nv: Niivue) => nv as unknown as Like;

/** A slice on the canvas. */
export interface Pane {
  readonly index: number;
  /** The file's axis that goes through it. */
  readonly axis: 0 | 1 | 2;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Where a voxel lies in a pane. */
export interface Spot {
  readonly x: number;
  readonly y: number;
  /** From the pane's slice, in slices. */
  readonly away: number;
}

/** A point of the canvas, and what is there. */
export interface Under {
  readonly voxel: Vec3;
  readonly pane: Pane;
}

/** The canvas's own pixels per CSS pixel. */
const scaleOf = ({ canvas }: Niivue): number =>
  canvas ? canvas.width / canvas.getBoundingClientRect().width || 1 : 1;

/** The file's axis of an axis of RAS. */
function sourceOf(nv: Niivue, ras: number): 0 | 1 | 2 {
  const middle = [0.5, 0.5, 0.5];
  const from = voxelAtFraction(like(nv), middle);
  const to = voxelAtFraction(
    like(nv),
    middle.map((v, a) => (a === ras ? v + 0.25 : v)),
  );
  const far = to.map((c, a) => Math.abs(c - from[a]));
  return far.indexOf(Math.max(...far)) as 0 | 1 | 2;
}

/** All slices that are shown. */
export function panesOf(nv: Niivue): Pane[] {
  if (nv.volumes.length === 0) return [];
  const scale = scaleOf(nv);
  return nv.screenSlices.flatMap(({ axCorSag, leftTopWidthHeight, AxyzMxy }, index) => {
    if (axCorSag > 2 || AxyzMxy.length < 4) return [];
    const [x, y, w, h] = leftTopWidthHeight;
    // Radiological panes have a negative width.
    const [left, width] = w < 0 ? [x + w, -w] : [x, w];
    return [
      {
        index,
        axis: sourceOf(nv, 2 - axCorSag),
        left: left / scale,
        top: y / scale,
        width: width / scale,
        height: h / scale,
      },
    ];
  });
}

/** Where a voxel (of the file, fractions allowed) is in a pane, whether or not its slice is shown; undefined outside of it. */
export function spotOf(nv: Niivue, pane: Pane, voxel: Vec3): Spot | undefined {
  const slice = nv.screenSlices[pane.index];
  if (!slice) return undefined;
  const mm = nv.frac2mm(fractionOfVoxel(like(nv), voxel), 0, nv.opts.isSliceMM);
  const order = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 2, 0],
  ][slice.axCorSag];
  const [u, v] = [mm[order[0]], mm[order[1]]];
  const mirrored = slice.leftTopWidthHeight[2] < 0;
  const across = (u - slice.leftTopMM[0]) / slice.fovMM[0];
  const up = (v - slice.leftTopMM[1]) / slice.fovMM[1];
  if (!(across >= 0 && across <= 1 && up >= 0 && up <= 1)) return undefined;
  // The slice that is shown goes through the crosshair.
  const here = voxelAtFraction(like(nv), nv.scene.crosshairPos);
  return {
    x: pane.left + (mirrored ? 1 - across : across) * pane.width,
    y: pane.top + (1 - up) * pane.height,
    away: Math.abs(Math.round(here[pane.axis]) - voxel[pane.axis]),
  };
}

/** What is under a point of the canvas; undefined outside all slices. */
export function underPoint(nv: Niivue, x: number, y: number): Under | undefined {
  if (nv.volumes.length === 0) return undefined;
  const scale = scaleOf(nv);
  const voxel = voxelAtCanvas(like(nv), [x * scale, y * scale]);
  const pane = panesOf(nv).find(
    ({ left, top, width, height }) => x >= left && x <= left + width && y >= top && y <= top + height,
  );
  return voxel && pane ? { voxel, pane } : undefined;
}

/** Pixels per voxel in a pane, the smaller way: how large things on voxels may be drawn. */
export function pixelsPerMm(nv: Niivue, pane: Pane): number {
  const slice = nv.screenSlices[pane.index];
  return slice ? pane.width / Math.abs(slice.fovMM[0]) : 1;
}

/** Calls back whenever NiiVue has drawn: then its panes may lie elsewhere. */
export function afterDraw(nv: Niivue, act: () => void): void {
  const draw = nv.drawScene.bind(nv);
  nv.drawScene = () => {
    const drawn = draw();
    act();
    return drawn;
  };
}
