/** Position encodings of points and of the dense grid (SPEC A2). */
import pointBackwardShader from '../../../shaders/point_backward.wgsl';
import positionEncoding from '../../../shaders/position_encoding.wgsl';
import {
  describe,
  type Fail,
  type Lowering,
  last,
  type Shape,
  sizeOf,
  type Tensor,
} from '../../engine/graph/ir.js';
import { apply, defineOp, needLength } from '../../engine/graph/op.js';
import { ceilDiv, spread, THREADS } from '../../engine/kernels/call.js';
import { shader } from '../../engine/kernels/wgsl.js';

type Embeddings = { embed0: Tensor; embed1: Tensor; notAPoint: Tensor };

/** What both kinds' dispatches have in common: an invocation for each row and feature. */
function encodingOf(rows: number, gaussian: Tensor, { caps }: Lowering) {
  const features = last(gaussian);
  const workgroups = spread(ceilDiv(rows * features, THREADS), caps);
  return {
    kernel: 'position_encoding',
    params: { rows, features, edge: 0, volume: 0, grid_x: workgroups[0] },
    workgroups,
    cost: { flops: 40 * rows * features, bytes: 12 * rows * features },
  };
}

function needGaussian(gaussian: Tensor, fail: Fail): void {
  if (gaussian.shape.length !== 2 || gaussian.shape[0] !== 3)
    fail(`${describe(gaussian)} is not (3, features)`);
}

/** points (B, P, 4): coordinates in voxels and label. */
const pointEncodingOp = defineOp<{ points: Tensor; gaussian: Tensor } & Embeddings, { volume: number }>({
  name: 'point_encoding',
  shape({ points, gaussian, ...embeddings }, _, fail) {
    needGaussian(gaussian, fail);
    const out = 3 * last(gaussian);
    for (const t of Object.values(embeddings)) needLength(fail, 'embedding', t, out);
    if (points.shape.length !== 3 || points.shape[2] !== 4) fail(`${describe(points)} is not (B, P, 4)`);
    return [points.shape[0], points.shape[1], out];
  },
  lower({ inputs: { points, gaussian, embed0, embed1, notAPoint }, attrs: { volume }, output: y }, on) {
    const dispatch = encodingOf(sizeOf(points.shape) / 4, gaussian, on);
    return {
      ...dispatch,
      variant: 'points',
      shader: shader(positionEncoding, { POINTS: true }),
      buffers: { gaussian, points, embed_0: embed0, embed_1: embed1, not_a_point: notAPoint, y },
      params: { ...dispatch.params, volume },
    };
  },
  gradient({ inputs: { points, ...inputs } }, dy, wants) {
    const sum = (name: keyof Embeddings, label: 1 | 0 | -1) =>
      wants(name) ? apply(pointBackwardOp, { dy, points }, { label, shape: inputs[name].shape }) : undefined;
    // The Gaussian matrix is a buffer, not a parameter (SPEC D).
    return { embed0: sum('embed0', 0), embed1: sum('embed1', 1), notAPoint: sum('notAPoint', -1) };
  },
});

/** Sum of dy (rows, C) over the points (rows, 4) that carry `label` → (C). */
const pointBackwardOp = defineOp<{ dy: Tensor; points: Tensor }, { label: 1 | 0 | -1; shape: Shape }>({
  name: 'point_backward',
  shape: (_, { shape }) => shape,
  lower({ inputs: { dy, points }, attrs: { label }, output: y }) {
    const rows = sizeOf(points.shape) / 4;
    const channels = last(dy);
    return {
      kernel: 'point_backward',
      variant: 'scalar',
      shader: shader(pointBackwardShader),
      buffers: { dy, points, y },
      params: { rows, channels, label },
      workgroups: [ceilDiv(channels, THREADS), 1, 1],
      cost: { flops: rows * channels, bytes: 4 * rows * channels },
    };
  },
  gradient: null,
});

const denseEncodingOp = defineOp<{ gaussian: Tensor }, { edge: number }>({
  name: 'dense_encoding',
  shape({ gaussian }, { edge }, fail) {
    needGaussian(gaussian, fail);
    return [edge, edge, edge, 3 * last(gaussian)];
  },
  lower({ inputs: { gaussian }, attrs: { edge }, output: y }, on) {
    const dispatch = encodingOf(edge ** 3, gaussian, on);
    return {
      ...dispatch,
      variant: 'dense',
      shader: shader(positionEncoding),
      buffers: { gaussian, y },
      params: { ...dispatch.params, edge },
    };
  },
  gradient: null,
});

/** points (B, P, 4) — coordinates in voxels of a volume of edge `volume`, label 1, 0 or −1 — → (B, P, out). */
export const pointEncoding = (
  points: Tensor,
  tables: { gaussian: Tensor } & Embeddings,
  volume: number,
): Tensor => apply(pointEncodingOp, { points, ...tables }, { volume });

/** The position encoding of a cube of cells: (edge, edge, edge, out). */
export const denseEncoding = (gaussian: Tensor, edge: number): Tensor =>
  apply(denseEncodingOp, { gaussian }, { edge });
