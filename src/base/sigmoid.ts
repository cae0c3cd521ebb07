/** σ(z), the probability of a logit. */
export const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));
