/** Activations that kernels apply on their way out. */
export type Activation = 'none' | 'gelu' | 'relu';

/** What `activation` is to a shader: `//#if GELU` and the like, and `activate` of math.wgsl. */
export const activationDefines = (activation: Activation | undefined) => ({
  GELU: activation === 'gelu',
  RELU: activation === 'relu',
});
