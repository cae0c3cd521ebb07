/** Every parameter of a model: the checkpoint's names, PyTorch's shapes, and how the device holds them. */
import type { ParameterLayout, ParameterSpec } from '../engine/graph/layout.js';
import { gatesOf, gridOf, type ModelConfig } from './config.js';

/** Masks the decoder predicts; fixed by the checkpoints. */
export const MASK_TOKENS = 4;
const DECODER_MLP = 2048;
const IOU_HIDDEN = 256;

/** All parameters of `config` in the order of PyTorch's state dict (SGPMs last). */
export function modelParameters(config: ModelConfig): ParameterSpec[] {
  const specs: ParameterSpec[] = [];
  const add = (name: string, shape: readonly number[], layout: ParameterLayout = 'plain') => {
    specs.push({ name, shape, layout });
  };
  const linear = (name: string, inputs: number, outputs: number) => {
    specs.push({
      name: `${name}.weight`,
      shape: [outputs, inputs],
      layout: 'linear',
      // The gate's kernel does all of its layers at once, in f32: a decision must not hang on rounding.
      ...(name.includes('.gate.') ? { exact: true } : {}),
    });
    add(`${name}.bias`, [outputs]);
  };
  const norm = (name: string, channels: number) => {
    add(`${name}.weight`, [channels]);
    add(`${name}.bias`, [channels]);
  };
  const conv = (name: string, inputs: number, outputs: number, kernel: number, bias = true) => {
    add(`${name}.weight`, [outputs, inputs, kernel, kernel, kernel], 'conv');
    if (bias) add(`${name}.bias`, [outputs]);
  };
  imageEncoder(config, { add, linear, norm, conv });
  promptEncoder(config, { add, linear, norm, conv });
  maskDecoder(config, { add, linear, norm, conv });
  const { sgpm, dim } = config;
  sgpm?.sites.forEach((_, j) => {
    const prefix = `sgpm.${j}`;
    linear(`${prefix}.gate.lin1`, dim, sgpm.hidden);
    linear(`${prefix}.gate.lin2`, sgpm.hidden, gatesOf(config));
    norm(`${prefix}.fusion.norm`, dim);
    conv(`${prefix}.fusion.reduce`, dim, sgpm.width, 1);
    // In inference one dispatch has all branches.
    const { width, dilations } = sgpm;
    dilations.forEach((_, k) => {
      const branches = `${prefix}.fusion.branches`;
      const stack = (what: string) => ({ name: `${branches}.${what}`, size: dilations.length });
      specs.push(
        {
          name: `${branches}.${k}.weight`,
          shape: [width, width, 3, 3, 3],
          layout: 'conv',
          stack: stack('weight'),
        },
        { name: `${branches}.${k}.bias`, shape: [width], layout: 'plain', stack: stack('bias') },
      );
    });
    // One row per output channel, as in PyTorch: the open channels' rows are what is read.
    add(`${prefix}.fusion.project.weight`, [dim, sgpm.width * sgpm.dilations.length, 1, 1, 1]);
    add(`${prefix}.fusion.project.bias`, [dim]);
  });
  return specs;
}

interface Builders {
  add(name: string, shape: readonly number[], layout?: ParameterLayout): void;
  linear(name: string, inputs: number, outputs: number): void;
  norm(name: string, channels: number): void;
  conv(name: string, inputs: number, outputs: number, kernel: number, bias?: boolean): void;
}

function imageEncoder(config: ModelConfig, { add, linear, norm, conv }: Builders): void {
  const { dim, depth, heads, patch, window, global, out } = config;
  const grid = gridOf(config);
  const e = 'image_encoder';
  add(`${e}.pos_embed`, [1, grid, grid, grid, dim]);
  conv(`${e}.patch_embed.proj`, 1, dim, patch);
  for (let i = 0; i < depth; i++) {
    const b = `${e}.blocks.${i}`;
    const edge = global.includes(i) ? grid : window;
    norm(`${b}.norm1`, dim);
    for (const axis of ['d', 'h', 'w']) add(`${b}.attn.rel_pos_${axis}`, [2 * edge - 1, dim / heads]);
    linear(`${b}.attn.qkv`, dim, 3 * dim);
    linear(`${b}.attn.proj`, dim, dim);
    norm(`${b}.norm2`, dim);
    linear(`${b}.mlp.lin1`, dim, 4 * dim);
    linear(`${b}.mlp.lin2`, 4 * dim, dim);
  }
  conv(`${e}.neck.0`, dim, out, 1, false);
  norm(`${e}.neck.1`, out);
  conv(`${e}.neck.2`, out, out, 3, false);
  norm(`${e}.neck.3`, out);
}

function promptEncoder({ out }: ModelConfig, { add, norm, conv }: Builders): void {
  const e = 'prompt_encoder';
  add(`${e}.pe_layer.positional_encoding_gaussian_matrix`, [3, out / 3]);
  add(`${e}.point_embeddings.0.weight`, [1, out]);
  add(`${e}.point_embeddings.1.weight`, [1, out]);
  add(`${e}.not_a_point_embed.weight`, [1, out]);
  conv(`${e}.mask_downscaling.0`, 1, 4, 2);
  norm(`${e}.mask_downscaling.1`, 4);
  conv(`${e}.mask_downscaling.3`, 4, 16, 2);
  norm(`${e}.mask_downscaling.4`, 16);
  conv(`${e}.mask_downscaling.6`, 16, out, 1);
  add(`${e}.no_mask_embed.weight`, [1, out]);
}

function maskDecoder({ out }: ModelConfig, { add, linear, norm }: Builders): void {
  const d = 'mask_decoder';
  const attention = (name: string, internal: number) => {
    for (const part of ['q_proj', 'k_proj', 'v_proj']) linear(`${name}.${part}`, out, internal);
    linear(`${name}.out_proj`, internal, out);
  };
  const t = `${d}.transformer`;
  for (const i of [0, 1]) {
    const layer = `${t}.layers.${i}`;
    attention(`${layer}.self_attn`, out);
    norm(`${layer}.norm1`, out);
    attention(`${layer}.cross_attn_token_to_image`, out / 2);
    norm(`${layer}.norm2`, out);
    linear(`${layer}.mlp.lin1`, out, DECODER_MLP);
    linear(`${layer}.mlp.lin2`, DECODER_MLP, out);
    norm(`${layer}.norm3`, out);
    norm(`${layer}.norm4`, out);
    attention(`${layer}.cross_attn_image_to_token`, out / 2);
  }
  attention(`${t}.final_attn_token_to_image`, out / 2);
  norm(`${t}.norm_final_attn`, out);
  add(`${d}.iou_token.weight`, [1, out]);
  add(`${d}.mask_tokens.weight`, [MASK_TOKENS, out]);
  const up = `${d}.output_upscaling`;
  add(`${up}.0.weight`, [out, out / 4, 2, 2, 2], 'conv_transpose');
  add(`${up}.0.bias`, [out / 4]);
  norm(`${up}.1`, out / 4);
  add(`${up}.3.weight`, [out / 4, out / 8, 2, 2, 2], 'conv_transpose');
  add(`${up}.3.bias`, [out / 8]);
  const mlp = (name: string, widths: readonly number[]) => {
    widths.slice(1).forEach((width, i) => {
      linear(`${name}.layers.${i}`, widths[i], width);
    });
  };
  for (let i = 0; i < MASK_TOKENS; i++) mlp(`${d}.output_hypernetworks_mlps.${i}`, [out, out, out, out / 8]);
  mlp(`${d}.iou_prediction_head`, [out, IOU_HIDDEN, IOU_HIDDEN, MASK_TOKENS]);
}
