/** From operations to dispatches: which planner serves which op, with which buffers. */
import { planAttention } from '../kernels/attention.js';
import type { Capabilities, KernelCall } from '../kernels/call.js';
import { planMatmul } from '../kernels/matmul.js';
import {
  planCopy,
  planCountNonfinite,
  planElementwise,
  planLayerNorm,
  planMeanTokens,
} from '../kernels/pointwise.js';
import { planGate, planProject } from '../kernels/sgpm.js';
import { planDenseEncoding, planMaskProduct, planPointEncoding, planResize } from '../kernels/spatial.js';
import { planWindowAttention } from '../kernels/window-attention.js';
import { type Node, type NodeOf, type Region, sizeOf, type Tensor } from './ir.js';
import { storageOf } from './layout.js';
import { lowerBackward } from './lower-backward.js';

/** Buffers that belong to a region or the program rather than to a tensor. */
export interface Auxiliary {
  readonly aux: 'decision' | 'control' | 'plan' | 'counters';
  readonly region: Region;
}
export type Operand = Tensor | Auxiliary;

export interface Call extends KernelCall<Operand> {
  readonly stage: string;
  /** Index of the node it serves. */
  readonly node: number;
  readonly region?: Region;
}

type Size3 = readonly [number, number, number];
const last = (t: Tensor): number => t.shape[t.shape.length - 1];
const size3 = (shape: readonly number[]): Size3 => [shape[0], shape[1], shape[2]];
const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

/** Bindings and fields that a kernel inside a region needs besides its own. */
function regional(region: Region | undefined, counter: number) {
  if (!region) return { spec: {}, buffers: {} };
  return {
    spec: { region: { samples: region.samples, counter } },
    buffers: {
      control: { aux: 'control', region } as Operand,
      counters: { aux: 'counters', region } as Operand,
    },
  };
}

/** What a product is told of its operands: gradients, how w is held, and which of them lie transposed. */
function operandsOf(
  { inputs: { w }, attrs }: NodeOf<'linear' | 'conv3d' | 'conv_transpose'>,
  caps: Capabilities,
) {
  const { transposed } = attrs;
  return {
    gradients: w.parameter === undefined || transposed !== undefined,
    weights: storageOf(w, caps),
    ...(transposed?.x ? { transposedA: true } : {}),
    ...(transposed?.w ? { transposedB: transposed.w } : {}),
  };
}

function lowerMatmul(node: NodeOf<'linear'> | NodeOf<'conv3d'>, caps: Capabilities, counter: number) {
  const { x, w, bias, residual } = node.inputs;
  const { into, activation } = node.attrs;
  const n = last(node.output);
  const rows = sizeOf(node.output.shape) / n;
  const { spec, buffers } = regional(node.region, counter);
  const conv =
    node.op === 'conv3d'
      ? {
          conv: {
            input: size3(x.shape.slice(1)),
            output: size3(node.output.shape.slice(1)),
            channels: last(x),
            kernel: node.attrs.kernel,
            stride: node.attrs.stride,
            padding: node.attrs.padding,
            dilation: node.attrs.dilation,
          },
        }
      : {};
  return planMatmul<Operand>(
    caps,
    {
      kernel: node.op === 'conv3d' ? 'conv3d' : 'matmul',
      rows: rows / (node.region?.samples ?? 1),
      n,
      k: sizeOf(w.shape) / n,
      activation,
      ...operandsOf(node, caps),
      ...conv,
      ...(residual ? { residualRows: sizeOf(residual.shape) / n } : {}),
      ...(into ? { ldc: last(into.target), cOffset: into.offset } : {}),
      ...spec,
    },
    { a: x, b: w, bias, residual, c: into?.target ?? node.output, ...buffers },
  );
}

function lowerConcat(node: NodeOf<'concat'>, caps: Capabilities): KernelCall<Operand>[] {
  if (node.attrs.placed) return [];
  const { axis } = node.attrs;
  const { shape } = node.output;
  const inner = product(shape.slice(axis + 1));
  let offset = 0;
  return Object.values(node.inputs).map((x) => {
    const run = x.shape[axis] * inner;
    const call = planCopy<Operand>(
      caps,
      {
        blocks: product(shape.slice(0, axis)),
        inner: run,
        xStride: run,
        xOffset: 0,
        yStride: shape[axis] * inner,
        yOffset: offset,
      },
      { x, y: node.output },
    );
    offset += run;
    return call;
  });
}

/**
 * The dispatches of one node, none for a view. `counter` is the index the first of them will have in the program;
 * `dispatches` is how many its region has (known once the region's nodes are lowered; only the gate asks).
 */
function lowerNode(
  node: Node,
  caps: Capabilities,
  counter: number,
  dispatches: (r: Region) => number,
): KernelCall<Operand>[] {
  const y = node.output;
  switch (node.op) {
    case 'linear':
    case 'conv3d':
      return [lowerMatmul(node, caps, counter)];
    case 'conv_transpose': {
      const { x, w, bias } = node.inputs;
      const channels = last(y);
      return [
        planMatmul<Operand>(
          caps,
          {
            kernel: 'conv_transpose',
            rows: sizeOf(x.shape) / last(x),
            n: 8 * channels,
            k: last(x),
            activation: node.attrs.activation,
            ...operandsOf(node, caps),
            scatter: { input: size3(x.shape.slice(1)), channels },
          },
          { a: x, b: w, bias, c: y },
        ),
      ];
    }
    case 'layer_norm': {
      const { x, w, bias } = node.inputs;
      const channels = last(x);
      const { spec, buffers } = regional(node.region, counter);
      const rows = sizeOf(x.shape) / channels / (node.region?.samples ?? 1);
      const { eps, activation } = node.attrs;
      return [
        planLayerNorm<Operand>(
          caps,
          { rows, channels, eps, activation, ...spec },
          { x, weight: w, bias, y, ...buffers },
        ),
      ];
    }
    case 'window_attention': {
      const { qkv, qkvBias, tableD, tableH, tableW } = node.inputs;
      const { heads, window } = node.attrs;
      return [
        planWindowAttention<Operand>(
          caps,
          { batch: qkv.shape[0], heads, headDim: last(y) / heads, grid: size3(qkv.shape.slice(1)), window },
          { qkv, qkvBias, tableD, tableH, tableW, out: y },
        ),
      ];
    }
    case 'attention': {
      const { q, k, v } = node.inputs;
      const { heads, keys } = node.attrs;
      const call = planAttention<Operand>(
        caps,
        { batch: q.shape[0], heads, headDim: last(q) / heads, queries: q.shape[1], keys: k.shape[1] },
        { q, k, v, out: y },
      );
      return [keys ? { ...call, settable: { keys } } : call];
    }
    case 'activation':
      return [
        planElementwise<Operand>(
          caps,
          { count: sizeOf(y.shape), activation: node.attrs.activation },
          { x: node.inputs.x, y },
        ),
      ];
    case 'add': {
      const { x, other } = node.inputs;
      const spec = { count: sizeOf(y.shape), period: sizeOf(other.shape), activation: node.attrs.activation };
      return [planElementwise<Operand>(caps, spec, { x, other, y })];
    }
    case 'concat':
      return lowerConcat(node, caps);
    case 'slice': {
      const { x } = node.inputs;
      const { axis, start, length } = node.attrs;
      const inner = product(x.shape.slice(axis + 1));
      return [
        planCopy<Operand>(
          caps,
          {
            blocks: product(x.shape.slice(0, axis)),
            inner: length * inner,
            xStride: x.shape[axis] * inner,
            xOffset: start * inner,
            yStride: length * inner,
            yOffset: 0,
          },
          { x, y },
        ),
      ];
    }
    case 'broadcast': {
      const inner = sizeOf(node.inputs.x.shape);
      const spec = { blocks: node.attrs.count, inner, xStride: 0, xOffset: 0, yStride: inner, yOffset: 0 };
      return [planCopy<Operand>(caps, spec, { x: node.inputs.x, y })];
    }
    case 'copy': {
      const inner = sizeOf(y.shape);
      const spec = { blocks: 1, inner, xStride: inner, xOffset: 0, yStride: inner, yOffset: 0 };
      return [planCopy<Operand>(caps, spec, { x: node.inputs.x, y })];
    }
    case 'reshape':
      return [];
    case 'mean_tokens': {
      const { x } = node.inputs;
      const batch = x.shape[0];
      const channels = last(x);
      return [
        planMeanTokens<Operand>({ batch, channels, tokens: sizeOf(x.shape) / batch / channels }, { x, y }),
      ];
    }
    case 'gate': {
      const { region } = node.attrs;
      const { mean, w1, b1, w2, b2 } = node.inputs;
      const call = planGate<Operand>(
        caps,
        {
          samples: region.samples,
          channels: region.channels,
          hidden: last(w1),
          dispatches: dispatches(region),
        },
        {
          mean,
          w1,
          b1,
          w2,
          b2,
          z: y,
          decision: { aux: 'decision', region },
          plan: { aux: 'plan', region },
        },
      );
      return [{ ...call, settable: { force: region.name } }];
    }
    case 'sgpm_project': {
      const { region } = node.attrs;
      const { h, w, bias, z } = node.inputs;
      const channels = last(y);
      return [
        planProject<Operand>(
          {
            samples: region.samples,
            rows: sizeOf(y.shape) / channels / region.samples,
            k: last(h),
            channels,
            counter,
          },
          { h, w, bias, z, y, control: { aux: 'control', region }, counters: { aux: 'counters', region } },
        ),
      ];
    }
    case 'point_encoding': {
      const { points, gaussian, embed0, embed1, notAPoint } = node.inputs;
      const features = last(gaussian);
      return [
        planPointEncoding<Operand>(
          caps,
          { rows: sizeOf(points.shape) / 4, features, volume: node.attrs.volume },
          { gaussian, points, embed_0: embed0, embed_1: embed1, not_a_point: notAPoint, y },
        ),
      ];
    }
    case 'dense_encoding': {
      const { gaussian } = node.inputs;
      return [
        planDenseEncoding<Operand>(
          caps,
          { edge: node.attrs.edge, features: last(gaussian) },
          { gaussian, y },
        ),
      ];
    }
    case 'mask_product': {
      const { hyper, voxels } = node.inputs;
      const [batch, masks, channels] = hyper.shape;
      const count = sizeOf(voxels.shape) / batch / channels;
      return [
        planMaskProduct<Operand>(
          caps,
          { batch, masks, voxels: count, channels },
          { hyper, voxels, masks: y },
        ),
      ];
    }
    case 'resize': {
      const { x } = node.inputs;
      const input = size3(x.shape.slice(-3));
      const spec = { planes: sizeOf(x.shape) / product(input), input, output: node.attrs.size };
      return [planResize<Operand>(caps, spec, { x, y })];
    }
    case 'count_nonfinite':
      return [
        planCountNonfinite<Operand>(
          { count: sizeOf(node.inputs.x.shape), ...node.attrs },
          { x: node.inputs.x, result: y },
        ),
      ];
    default:
      return lowerBackward(node, caps);
  }
}

/** All dispatches of `nodes`, in order. */
export function lower(nodes: readonly Node[], caps: Capabilities): Call[] {
  // A gate comes before its region, but must know how many dispatches that has: count them first.
  const perRegion = new Map<number, number>();
  for (const node of nodes) {
    if (!node.region) continue;
    const count = lowerNode(node, caps, 0, () => 0).length;
    perRegion.set(node.region.id, (perRegion.get(node.region.id) ?? 0) + count);
  }
  const calls: Call[] = [];
  nodes.forEach((node, index) => {
    const lowered = lowerNode(node, caps, calls.length, (r) => perRegion.get(r.id) ?? 0);
    for (const call of lowered) {
      const region = node.region ? { region: node.region } : {};
      calls.push({ ...call, stage: node.stage, node: index, ...region });
    }
  });
  return calls;
}
