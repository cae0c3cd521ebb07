/** Graph building with parameters by name: what every part of the model is written with. */

import { SgpSamError } from '../base/errors.js';
import { Graph } from '../engine/graph/graph.js';
import type { Tensor } from '../engine/graph/ir.js';
import { type ParameterSpec, stackOf } from '../engine/graph/layout.js';
import { conv3d, convTranspose } from '../engine/ops/conv.js';
import { gelu, relu } from '../engine/ops/elementwise.js';
import {
  type AttentionOptions,
  attention,
  layerNorm,
  linear,
  type Module,
  mlp,
} from '../nn/layers/linear.js';
import { checkConfig, type ModelConfig } from './config.js';
import { modelParameters } from './parameters.js';

export class ModelBuilder implements Module {
  readonly graph = new Graph();
  /** In training: the logits and noise (B, gates) of each SGPM so far. */
  readonly gates: { readonly z: Tensor; readonly noise: Tensor }[] = [];
  private readonly specs: Map<string, ParameterSpec>;
  private readonly traced: ReadonlySet<string> | 'all';

  /**
   * @param trace names of intermediate stages to keep as outputs of the graph, or 'all'
   * @param training dense, differentiable SGPMs instead of conditional ones
   */
  constructor(
    readonly config: ModelConfig,
    trace: Iterable<string> | 'all' = [],
    readonly training = false,
  ) {
    checkConfig(config);
    const specs = modelParameters(config);
    const stacks = specs.filter(({ stack }) => stack).map(stackOf);
    this.specs = new Map([...specs, ...stacks].map((spec) => [spec.name, spec]));
    this.traced = trace === 'all' ? 'all' : new Set(trace);
  }

  /** A parameter of the model: its own list knows the shapes. */
  param(name: string): Tensor {
    return this.graph.param(this.spec(name));
  }

  private spec(name: string): ParameterSpec {
    const spec = this.specs.get(name);
    if (!spec) throw new SgpSamError('bad-graph', `the model has no parameter '${name}'`);
    return spec;
  }

  /** Outputs of a linear layer. */
  private width(name: string): number {
    return this.spec(`${name}.weight`).shape[0];
  }

  /** Keeps `tensor` as an output under `name` if that stage is traced. */
  trace(name: string, tensor: Tensor): Tensor {
    const wanted = this.traced === 'all' || this.traced.has(name);
    return wanted ? this.graph.output(name, tensor) : tensor;
  }

  linear(name: string, x: Tensor): Tensor {
    return linear(this, name, x, this.width(name));
  }

  norm(name: string, x: Tensor, eps: number): Tensor {
    return layerNorm(this, name, x, eps);
  }

  /** `layers.0 … layers.n−1` with ReLU between. */
  mlp(name: string, x: Tensor, layers: number): Tensor {
    const widths = Array.from({ length: layers }, (_, i) => this.width(`${name}.layers.${i}`));
    return mlp(this, name, x, widths);
  }

  attention(name: string, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
    return attention(this, name, q, k, v, { ...options, width: this.width(`${name}.q_proj`) });
  }

  // Of convolutions the model has those alone that are the same along every axis.
  conv(
    name: string,
    x: Tensor,
    attrs: { kernel: number; stride?: number; padding?: number; dilation?: number; bias?: boolean },
  ): Tensor {
    const bias = attrs.bias === false ? undefined : this.param(`${name}.bias`);
    return this.graph.stage(name, () => conv3d(x, this.param(`${name}.weight`), bias, attrs));
  }

  convTranspose(name: string, x: Tensor): Tensor {
    return this.graph.stage(name, () =>
      convTranspose(x, this.param(`${name}.weight`), this.param(`${name}.bias`)),
    );
  }

  /** An activation as a part of the stage `name`, though it may end up in the kernel before it. */
  gelu(name: string, x: Tensor): Tensor {
    return this.graph.stage(name, () => gelu(x));
  }

  /** See `gelu`. */
  relu(name: string, x: Tensor): Tensor {
    return this.graph.stage(name, () => relu(x));
  }
}
