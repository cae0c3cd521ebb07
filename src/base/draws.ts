/** Random draws with names, each stage of a phantom from a stream of its own: one more draw in one moves no other. */
import { randomSource } from './random.js';

/** A seed derived from others; different inputs give unrelated streams. */
export function mixSeed(...parts: readonly number[]): number {
  let h = 0x811c9dc5;
  for (const part of parts) {
    h = Math.imul(h ^ (part >>> 0), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

/** Draws from one stream. */
export class Draws {
  private readonly random: () => number;

  constructor(seed: number) {
    this.random = randomSource(seed);
  }

  /** In [0, 1). */
  unit(): number {
    return this.random();
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.random();
  }

  /** Uniform in the logarithm: as many between 1 and 2 as between 10 and 20. */
  logUniform(low: number, high: number): number {
    return low * (high / low) ** this.random();
  }

  /** A whole number, both ends included. */
  whole(low: number, high: number): number {
    return low + Math.floor((high - low + 1) * this.random());
  }

  chance(p: number): boolean {
    return this.random() < p;
  }

  sign(): 1 | -1 {
    return this.random() < 0.5 ? -1 : 1;
  }

  seed(): number {
    return Math.floor(this.random() * 2 ** 32);
  }

  pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.random() * all.length)];
  }

  /** A direction, uniform over the sphere. */
  direction(): [number, number, number] {
    const z = this.uniform(-1, 1);
    const angle = this.uniform(0, 2 * Math.PI);
    const r = Math.sqrt(1 - z * z);
    return [r * Math.cos(angle), r * Math.sin(angle), z];
  }

  /** A rotation, its three rows one after the other: two random directions made orthonormal, and their product. */
  rotation(): number[] {
    const a = this.direction();
    const b = this.direction();
    const along = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const c = b.map((v, n) => v - along * a[n]) as [number, number, number];
    // Parallel directions have probability zero, and would only give a degenerate lesion's shape.
    const length = Math.hypot(...c) || 1;
    const u = c.map((v) => v / length) as [number, number, number];
    return [...a, ...u, a[1] * u[2] - a[2] * u[1], a[2] * u[0] - a[0] * u[2], a[0] * u[1] - a[1] * u[0]];
  }
}
