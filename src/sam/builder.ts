/** Graph building with parameters by name: what every part of the model is written with. */

import { SgpSamError } from '../base/errors.js';
import { Graph } from '../engine/graph/graph.js';
import type { Tensor } from '../engine/graph/ir.js';
import { type ParameterSpec, stackOf } from '../engine/graph/layout.js';
import { conv3d, convTranspose } from '../engine/ops/conv.js';
import { gelu, relu } from '../engine/ops/elementwise.js';
import { layerNorm } from '../engine/ops/layer-norm.js';
import { linear } from '../engine/ops/linear.js';
import { checkConfig, type ModelConfig } from './config.js';
import { modelParameters } from './parameters.js';

export class ModelBuilder {
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

  param(name: string): Tensor {
    const spec = this.specs.get(name);
    if (!spec) throw new SgpSamError('bad-graph', `the model has no parameter '${name}'`);
    return this.graph.param(spec);
  }

  /** Keeps `tensor` as an output under `name` if that stage is traced. */
  trace(name: string, tensor: Tensor): Tensor {
    const wanted = this.traced === 'all' || this.traced.has(name);
    return wanted ? this.graph.output(name, tensor) : tensor;
  }

  linear(name: string, x: Tensor): Tensor {
    return this.graph.stage(name, () => linear(x, this.param(`${name}.weight`), this.param(`${name}.bias`)));
  }

  norm(name: string, x: Tensor, eps: number): Tensor {
    return this.graph.stage(name, () =>
      layerNorm(x, this.param(`${name}.weight`), this.param(`${name}.bias`), eps),
    );
  }

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

  /** `layers.0 … layers.n−1` with ReLU between. */
  mlp(name: string, x: Tensor, layers: number): Tensor {
    let h = x;
    for (let i = 0; i < layers; i++) {
      h = this.linear(`${name}.layers.${i}`, h);
      if (i < layers - 1) h = this.relu(name, h);
    }
    return h;
  }
}
