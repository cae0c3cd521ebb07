/** The stage's slices as places: where in which of them a voxel lies, and what is under a point. In CSS pixels of the canvas, voxels of the file. */
import { fractionOfVoxel, type voxelAtCanvas, voxelAtFraction } from '../adapters/niivue.js';
import type { Vec3 } from '../imaging/types.js';
import { reducedVoxel, WHOLE } from './reduce.js';
import type { Pane, Stage } from './stage.js';

type Like = Parameters<typeof voxelAtCanvas>[0];
const like = ({ nv }: Stage) => nv as unknown as Like;

/** A slice on the canvas. */
export interface Slice extends Pane {
  readonly index: number;
  /** The file's axis that goes through it. */
  readonly axis: 0 | 1 | 2;
}

/** Where a voxel lies in a slice. */
export interface Spot {
  readonly x: number;
  readonly y: number;
  /** From what is shown there, in slices that can be shown. */
  readonly away: number;
}

/** A point of the canvas, and what is there. */
export interface Under {
  readonly voxel: Vec3;
  readonly slice: Slice;
}

/** How many voxels make one that is shown, along each of the file's axes. */
export const factorsOf = ({ scan }: Stage): Vec3 => scan?.factors ?? WHOLE;

/** The file's axis of an axis of RAS. */
function sourceOf(stage: Stage, ras: number): 0 | 1 | 2 {
  const middle = [0.5, 0.5, 0.5];
  const from = voxelAtFraction(like(stage), middle);
  const to = voxelAtFraction(
    like(stage),
    middle.map((v, a) => (a === ras ? v + 0.25 : v)),
  );
  const far = to.map((c, a) => Math.abs(c - from[a]) * factorsOf(stage)[a]);
  return far.indexOf(Math.max(...far)) as 0 | 1 | 2;
}

const RAS = { sagittal: 0, coronal: 1, axial: 2 } as const;

/** All slices that are shown. */
export const slicesOf = (stage: Stage): Slice[] =>
  stage.nv.volumes.length === 0
    ? []
    : stage.panes.flatMap((pane, index) =>
        pane.plane === '3D' ? [] : [{ ...pane, index, axis: sourceOf(stage, RAS[pane.plane]) }],
      );

/** Where a voxel (fractions allowed) is in a slice's rectangle, whether or not its slice is shown; undefined outside of it. */
export function spotOf(stage: Stage, { index, plane, axis, ...pane }: Slice, voxel: Vec3): Spot | undefined {
  const { nv } = stage;
  const shown = nv.screenSlices[index];
  if (!shown || plane === '3D') return undefined;
  const at = reducedVoxel(voxel, factorsOf(stage));
  const mm = nv.frac2mm(fractionOfVoxel(like(stage), at), 0, nv.opts.isSliceMM);
  const [a, b] = { axial: [0, 1], coronal: [0, 2], sagittal: [1, 2] }[plane];
  // The field of view is negative across where the patient's right is on the left.
  const across = (mm[a] - shown.leftTopMM[0]) / shown.fovMM[0];
  const up = (mm[b] - shown.leftTopMM[1]) / shown.fovMM[1];
  if (!(across >= 0 && across <= 1 && up >= 0 && up <= 1)) return undefined;
  // The slice that is shown goes through the crosshair.
  const here = voxelAtFraction(like(stage), nv.scene.crosshairPos);
  return {
    x: pane.left + across * pane.width,
    y: pane.top + (1 - up) * pane.height,
    away: Math.abs(Math.round(here[axis]) - at[axis]),
  };
}

/** What is under a point of the canvas; undefined outside all slices. */
export function underPoint(stage: Stage, x: number, y: number): Under | undefined {
  const voxel = stage.voxelAt(x, y);
  const slice = slicesOf(stage).find(
    ({ left, top, width, height }) => x >= left && x <= left + width && y >= top && y <= top + height,
  );
  return voxel && slice ? { voxel, slice } : undefined;
}

/** Calls back whenever the slices were drawn: then they may lie elsewhere. */
export function afterDraw({ nv }: Stage, act: () => void): void {
  const draw = nv.drawScene.bind(nv);
  nv.drawScene = () => {
    const drawn = draw();
    act();
    return drawn;
  };
}
