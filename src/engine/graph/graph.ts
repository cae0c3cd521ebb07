/** Building a graph: one method per operation, each checking its operands' shapes and naming the place. */
import { SgpSamError } from '../../base/errors.js';
import {
  type Activation,
  type DType,
  describe,
  type Node,
  type NodeOf,
  type OpName,
  type Ops,
  type Region,
  type Shape,
  sizeOf,
  type Tensor,
} from './ir.js';
import { engineShape, type ParameterSpec } from './layout.js';

interface ConvAttrs {
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
}

/**
 * What may stand inside a region: kernels that run for open samples alone, and ones that work element by element (right
 * for every sample, and skipped when none is open). Others use the dispatch's z as the sample itself.
 */
const REGIONAL: ReadonlySet<OpName> = new Set([
  'linear',
  'conv3d',
  'layer_norm',
  'sgpm_project',
  'activation',
  'add',
  'concat',
  'reshape',
]);

/** A graph under construction. Operands must come from the same graph; all shapes are known as it is built. */
export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs = new Map<string, Tensor>();
  readonly parameters = new Map<string, Tensor>();
  readonly outputs = new Map<string, Tensor>();
  readonly regions: Region[] = [];
  private nextId = 0;
  private stages: string[] = [];
  private region: Region | undefined;

  /** Runs `build` with `name` appended to the stage: `g.stage('blocks.0', () => …)`. */
  stage<R>(name: string, build: () => R): R {
    this.stages.push(name);
    try {
      return build();
    } finally {
      this.stages.pop();
    }
  }

  private get place(): string {
    return this.stages.join('.');
  }

  private fail(op: string, what: string): never {
    throw new SgpSamError('bad-graph', `${this.place || 'graph'}: ${op}: ${what}`);
  }

  private tensor(
    kind: Tensor['kind'],
    name: string,
    shape: Shape,
    dtype: DType,
    parameter?: ParameterSpec,
  ): Tensor {
    if (shape.some((n) => !Number.isInteger(n) || n < 1))
      this.fail(name, `no tensor has shape (${shape.join(', ')})`);
    return { id: this.nextId++, kind, name, shape, dtype, ...(parameter ? { parameter } : {}) };
  }

  /** Appends a node. Its operands are not checked: models use the methods below, autograd's rules this. */
  emit<K extends OpName>(
    op: K,
    inputs: Ops[K]['inputs'],
    attrs: Ops[K]['attrs'],
    shape: Shape,
    dtype: DType = 'f32',
  ): Tensor {
    if (this.region && !REGIONAL.has(op)) {
      this.fail(op, 'cannot be inside a region: its kernel computes every sample, open or not');
    }
    if (shape.some((n) => !Number.isInteger(n) || n < 1)) {
      const from = Object.values(inputs as Record<string, Tensor | undefined>).flatMap((t) =>
        t ? [describe(t)] : [],
      );
      this.fail(op, `${from.join(', ')} would give (${shape.join(', ')})`);
    }
    const output = this.tensor('value', `${this.place || op}`, shape, dtype);
    const node: NodeOf<K> = {
      id: this.nextId++,
      op,
      inputs,
      attrs,
      output,
      stage: this.place,
      ...(this.region ? { region: this.region } : {}),
    };
    this.nodes.push(node as unknown as Node);
    return output;
  }

  /** For transforms of the graph: an id that nothing has. */
  newId(): number {
    return this.nextId++;
  }

  /** For transforms of the graph: other nodes in place of these, in an order in which each comes after its operands. */
  replaceNodes(nodes: readonly Node[]): void {
    this.nodes.splice(0, this.nodes.length, ...nodes);
  }

  /** A tensor that the caller writes before a run. */
  input(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    if (this.inputs.has(name)) this.fail('input', `'${name}' is there already`);
    const tensor = this.tensor('input', name, shape, dtype);
    this.inputs.set(name, tensor);
    return tensor;
  }

  /** A parameter; asking twice for one name gives the same tensor. */
  param(spec: ParameterSpec): Tensor {
    let tensor = this.parameters.get(spec.name);
    if (tensor && tensor.parameter?.shape.join() !== spec.shape.join()) {
      this.fail(
        'param',
        `${spec.name} was (${tensor.parameter?.shape.join(', ')}) and is now (${spec.shape.join(', ')})`,
      );
    }
    if (!tensor) {
      tensor = this.tensor('parameter', spec.name, engineShape(spec), 'f32', spec);
      this.parameters.set(spec.name, tensor);
    }
    return tensor;
  }

  /** Marks a tensor that can be read after a run. */
  output(name: string, tensor: Tensor): Tensor {
    if (this.outputs.has(name)) this.fail('output', `'${name}' is there already`);
    this.outputs.set(name, tensor);
    return tensor;
  }

  private checkVector(op: string, what: string, tensor: Tensor | undefined, length: number): void {
    if (tensor && sizeOf(tensor.shape) !== length)
      this.fail(op, `${what} ${describe(tensor)} should have ${length} elements`);
  }

  /** x (…, K), w (K, N) → (…, N). */
  linear(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
    const k = x.shape[x.shape.length - 1];
    if (w.shape.length !== 2 || w.shape[0] !== k)
      this.fail('linear', `${describe(x)} does not fit ${describe(w)}`);
    const n = w.shape[1];
    this.checkVector('linear', 'bias', bias, n);
    return this.emit('linear', { x, w, bias }, { activation: 'none' }, [...x.shape.slice(0, -1), n]);
  }

  /** x (B, D, H, W, C), w (kernel³, C, O) → (B, D', H', W', O). */
  conv3d(x: Tensor, w: Tensor, bias: Tensor | undefined, attrs: ConvAttrs): Tensor {
    const { kernel, stride = 1, padding = 0, dilation = 1 } = attrs;
    if (x.shape.length !== 5) this.fail('conv3d', `${describe(x)} is not (B, D, H, W, C)`);
    const [taps, channels, n] = w.shape;
    if (w.shape.length !== 3 || taps !== kernel ** 3 || channels !== x.shape[4]) {
      this.fail('conv3d', `${describe(x)} does not fit ${describe(w)} with kernel ${kernel}`);
    }
    this.checkVector('conv3d', 'bias', bias, n);
    const reach = dilation * (kernel - 1) + 1;
    const out = x.shape.slice(1, 4).map((size) => Math.floor((size + 2 * padding - reach) / stride) + 1);
    return this.emit('conv3d', { x, w, bias }, { kernel, stride, padding, dilation, activation: 'none' }, [
      x.shape[0],
      ...out,
      n,
    ]);
  }

  /** k2 s2: x (B, D, H, W, C), w (C, 8, O) → (B, 2D, 2H, 2W, O). */
  convTranspose(x: Tensor, w: Tensor, bias?: Tensor): Tensor {
    if (x.shape.length !== 5 || w.shape.length !== 3 || w.shape[0] !== x.shape[4] || w.shape[1] !== 8) {
      this.fail('conv_transpose', `${describe(x)} does not fit ${describe(w)}`);
    }
    this.checkVector('conv_transpose', 'bias', bias, w.shape[2]);
    const [b, d, h, width] = x.shape;
    return this.emit('conv_transpose', { x, w, bias }, { activation: 'none' }, [
      b,
      2 * d,
      2 * h,
      2 * width,
      w.shape[2],
    ]);
  }

  /** LayerNorm over the last axis; in a channels-last volume this is LayerNorm3d. */
  layerNorm(x: Tensor, w: Tensor, bias: Tensor, eps: number): Tensor {
    const channels = x.shape[x.shape.length - 1];
    this.checkVector('layer_norm', 'weight', w, channels);
    this.checkVector('layer_norm', 'bias', bias, channels);
    return this.emit('layer_norm', { x, w, bias }, { eps, activation: 'none' }, x.shape);
  }

  /** An encoder block's attention, before `proj`: qkv (B, D, H, W, 3C) → (B, D, H, W, C). */
  windowAttention(
    qkv: Tensor,
    qkvBias: Tensor,
    tables: readonly [Tensor, Tensor, Tensor],
    heads: number,
    window: number,
  ): Tensor {
    const op = 'window_attention';
    if (qkv.shape.length !== 5 || qkv.shape[4] % (3 * heads) !== 0) {
      this.fail(op, `${describe(qkv)} is not (B, D, H, W, 3·C) for ${heads} heads`);
    }
    const width = qkv.shape[4] / 3;
    this.checkVector(op, 'bias', qkvBias, 3 * width);
    const [, d, h, w] = qkv.shape;
    if (window === 0 && (d !== h || h !== w))
      this.fail(op, `a global block needs a cubic grid, not ${d}×${h}×${w}`);
    const edge = window > 0 ? window : d;
    for (const table of tables)
      this.checkVector(op, `relative positions for edge ${edge}`, table, (2 * edge - 1) * (width / heads));
    const [tableD, tableH, tableW] = tables;
    return this.emit(op, { qkv, qkvBias, tableD, tableH, tableW }, { heads, window }, [
      ...qkv.shape.slice(0, 4),
      width,
    ]);
  }

  /** softmax(q·kᵀ/√(head dim))·v: q (B, Tq, C), k and v (B, Tk, C) → (B, Tq, C). */
  attention(q: Tensor, k: Tensor, v: Tensor, heads: number): Tensor {
    const [b, , c] = q.shape;
    const fits = q.shape.length === 3 && k.shape.length === 3 && k.shape[0] === b && k.shape[2] === c;
    if (!fits || v.shape.join() !== k.shape.join() || c % heads !== 0) {
      this.fail('attention', `${describe(q)}, ${describe(k)}, ${describe(v)} do not fit ${heads} heads`);
    }
    return this.emit('attention', { q, k, v }, { heads }, q.shape);
  }

  /** An activation, element by element. */
  activation(x: Tensor, activation: Activation): Tensor {
    return this.emit('activation', { x }, { activation }, x.shape);
  }

  /** x·Φ(x), exact (Hendrycks and Gimpel 2016). */
  gelu(x: Tensor): Tensor {
    return this.activation(x, 'gelu');
  }

  /** max(x, 0), NaN where x is. */
  relu(x: Tensor): Tensor {
    return this.activation(x, 'relu');
  }

  /** x + other; other's shape must be x's or its trailing axes (leading 1s are ignored). */
  add(x: Tensor, other: Tensor): Tensor {
    const first = other.shape.findIndex((n) => n !== 1);
    const suffix = first < 0 ? [] : other.shape.slice(first);
    const tail = x.shape.slice(x.shape.length - suffix.length);
    if (suffix.length > x.shape.length || suffix.join() !== tail.join()) {
      this.fail('add', `${describe(other)} does not repeat over ${describe(x)}`);
    }
    return this.emit('add', { x, other }, { activation: 'none' }, x.shape);
  }

  /** Parts one after the other along an axis; their other sizes are the same. */
  concat(parts: readonly Tensor[], axis: number): Tensor {
    const [first] = parts;
    if (!first) this.fail('concat', 'of nothing');
    const at = axis < 0 ? axis + first.shape.length : axis;
    if (at < 0 || at >= first.shape.length) this.fail('concat', `${describe(first)} has no axis ${axis}`);
    const outside = (t: Tensor) => t.shape.map((n, i) => (i === at ? 0 : n)).join();
    for (const part of parts) {
      if (outside(part) !== outside(first))
        this.fail('concat', `${describe(part)} does not fit ${describe(first)}`);
    }
    if (parts.length === 1) return first;
    const total = parts.reduce((sum, t) => sum + t.shape[at], 0);
    const shape = first.shape.map((n, i) => (i === at ? total : n));
    const inputs = Object.fromEntries(parts.map((t, i) => [`x${i}`, t]));
    return this.emit('concat', inputs, { placed: false, axis: at }, shape);
  }

  /** `length` entries of an axis from `start`. */
  slice(x: Tensor, axis: number, start: number, length: number): Tensor {
    if (!(axis >= 0 && axis < x.shape.length)) this.fail('slice', `${describe(x)} has no axis ${axis}`);
    if (start < 0 || start + length > x.shape[axis])
      this.fail('slice', `${start}…${start + length} is outside ${describe(x)}`);
    return this.emit(
      'slice',
      { x },
      { axis, start, length },
      x.shape.map((n, i) => (i === axis ? length : n)),
    );
  }

  /** x (…) → (count, …). */
  broadcast(x: Tensor, count: number): Tensor {
    return this.emit('broadcast', { x }, { count }, [count, ...x.shape]);
  }

  /** The same elements in the same order; costs nothing. */
  reshape(x: Tensor, shape: Shape): Tensor {
    if (sizeOf(shape) !== sizeOf(x.shape))
      this.fail('reshape', `${describe(x)} has not the size of (${shape.join(', ')})`);
    return shape.join() === x.shape.join() ? x : this.emit('reshape', { x }, {}, shape, x.dtype);
  }

  /** (B, …, C) → (B, C), the mean over everything between. */
  meanTokens(x: Tensor): Tensor {
    if (x.shape.length < 2) this.fail('mean_tokens', `${describe(x)} is not (B, …, C)`);
    return this.emit('mean_tokens', { x }, {}, [x.shape[0], x.shape[x.shape.length - 1]]);
  }

  /**
   * The SGPM's gate on means (B, C): the logits z (B, C), and the region that is executed for what it opens.
   * Build the region's nodes with `within`.
   */
  gate(
    mean: Tensor,
    mlp: { w1: Tensor; b1: Tensor; w2: Tensor; b2: Tensor },
    name: string,
  ): { z: Tensor; region: Region } {
    const [samples, channels] = mean.shape;
    const { w1, b1, w2, b2 } = mlp;
    const hidden = w1.shape[1];
    if (w1.shape[0] !== channels || w2.shape[0] !== hidden || w2.shape[1] !== channels) {
      this.fail('gate', `${describe(mean)} does not fit ${describe(w1)} and ${describe(w2)}`);
    }
    this.checkVector('gate', 'bias 1', b1, hidden);
    this.checkVector('gate', 'bias 2', b2, channels);
    const region: Region = { id: this.regions.length, name, samples, channels };
    this.regions.push(region);
    return { z: this.emit('gate', { mean, w1, b1, w2, b2 }, { region }, mean.shape), region };
  }

  /** Nodes built inside run only for the samples that the region's gate opens. */
  within<R>(region: Region, build: () => R): R {
    if (this.region) this.fail('within', 'regions do not nest');
    this.region = region;
    try {
      return build();
    } finally {
      this.region = undefined;
    }
  }

  /** x + open ⊙ σ(z) ⊙ (h·wᵀ + bias) for the region's open channels; w (C, K) has a row per channel. */
  sgpmProject(x: Tensor, h: Tensor, w: Tensor, bias: Tensor, z: Tensor): Tensor {
    if (!this.region) this.fail('sgpm_project', 'only inside a region');
    const channels = x.shape[x.shape.length - 1];
    const k = h.shape[h.shape.length - 1];
    if (sizeOf(w.shape) !== channels * k)
      this.fail('sgpm_project', `${describe(h)} does not fit ${describe(w)}`);
    this.checkVector('sgpm_project', 'bias', bias, channels);
    if (sizeOf(x.shape) / channels !== sizeOf(h.shape) / k || x.shape[0] !== h.shape[0]) {
      this.fail('sgpm_project', `${describe(x)} has not the tokens of ${describe(h)}`);
    }
    if (z.shape.join() !== [x.shape[0], channels].join()) {
      this.fail('sgpm_project', `${describe(x)} does not fit its gate ${describe(z)}`);
    }
    return this.emit('sgpm_project', { x, h, w, bias, z }, { region: this.region }, x.shape);
  }

  /** points (B, P, 4) → (B, P, out). */
  pointEncoding(
    points: Tensor,
    tables: { gaussian: Tensor; embed0: Tensor; embed1: Tensor; notAPoint: Tensor },
    volume: number,
  ): Tensor {
    this.checkGaussian('point_encoding', tables.gaussian);
    const out = 3 * tables.gaussian.shape[1];
    for (const t of [tables.embed0, tables.embed1, tables.notAPoint])
      this.checkVector('point_encoding', 'embedding', t, out);
    if (points.shape.length !== 3 || points.shape[2] !== 4)
      this.fail('point_encoding', `${describe(points)} is not (B, P, 4)`);
    return this.emit('point_encoding', { points, ...tables }, { volume }, [
      points.shape[0],
      points.shape[1],
      out,
    ]);
  }

  private checkGaussian(op: string, gaussian: Tensor): void {
    if (gaussian.shape.length !== 2 || gaussian.shape[0] !== 3)
      this.fail(op, `${describe(gaussian)} is not (3, features)`);
  }

  private checkVolume(op: string, x: Tensor): void {
    if (x.shape.length < 3) this.fail(op, `${describe(x)} has no three axes`);
  }

  /** → (edge, edge, edge, out). */
  denseEncoding(gaussian: Tensor, edge: number): Tensor {
    this.checkGaussian('dense_encoding', gaussian);
    return this.emit('dense_encoding', { gaussian }, { edge }, [edge, edge, edge, 3 * gaussian.shape[1]]);
  }

  /** hyper (B, M, C), voxels (B, D, H, W, C) → (B, M, D, H, W). */
  maskProduct(hyper: Tensor, voxels: Tensor): Tensor {
    const [b, m, c] = hyper.shape;
    if (voxels.shape.length !== 5 || voxels.shape[0] !== b || voxels.shape[4] !== c) {
      this.fail('mask_product', `${describe(hyper)} does not fit ${describe(voxels)}`);
    }
    return this.emit('mask_product', { hyper, voxels }, {}, [b, m, ...voxels.shape.slice(1, 4)]);
  }

  /** Trilinear over the last three axes, align_corners = false. */
  resize(x: Tensor, size: readonly [number, number, number]): Tensor {
    this.checkVolume('resize', x);
    return this.emit('resize', { x }, { size }, [...x.shape.slice(0, -3), ...size]);
  }

  /** → (2) u32: how many elements are NaN or beyond `most` in magnitude, and the first one's index + 1. */
  countNonfinite(x: Tensor, most: number): Tensor {
    return this.emit('count_nonfinite', { x }, { most }, [2], 'u32');
  }
}
