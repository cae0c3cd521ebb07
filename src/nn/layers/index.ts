/**
 * Layers as PyTorch has them: operations and the parameters that they bear under their module's name (`fc1.weight`, `fc1.bias`), in
 * PyTorch's shapes, so that a checkpoint's values fit. Functions and no classes: a bundle holds those that it uses.
 */
export { conv3d, convTranspose3d, instanceNorm } from './conv.js';
export {
  type AttentionOptions,
  attention,
  layerNorm,
  linear,
  type Module,
  mlp,
  moduleOf,
} from './linear.js';
