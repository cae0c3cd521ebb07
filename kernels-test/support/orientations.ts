/** The 48 ways in which the axes of a stored image can run along the world's. */
import { ORDERS } from '../imaging/metrics/support.js';

/** Stored axis a runs along world axis `world[a]`, against it where `flip[a]`. */
export const ORIENTATIONS = ORDERS.flatMap((world) =>
  Array.from({ length: 8 }, (_, bits) => ({ world, flip: [bits & 1, bits & 2, bits & 4].map(Boolean) })),
);
export type Orientation = (typeof ORIENTATIONS)[number];

/** Where a stored axis points in RAS, as a unit vector. */
export const axisOf = ({ world, flip }: Orientation, a: number): number[] =>
  [0, 1, 2].map((w) => (w === world[a] ? (flip[a] ? -1 : 1) : 0));
