/** Numbers in [0, 1), the same for the same seed everywhere (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A smooth random field over space, in −1…1, varying over a length of about 1 (value noise). */
export function smoothNoise(seed: number): (x: number, y: number, z: number) => number {
  const lattice = (i: number, j: number, k: number) => {
    let h =
      Math.imul(i, 0x8da6b343) ^
      Math.imul(j, 0xd8163841) ^
      Math.imul(k, 0xcb1ab31f) ^
      Math.imul(seed, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
    h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1;
  };
  const ease = (t: number) => t * t * (3 - 2 * t);
  const mix = (a: number, b: number, t: number) => a + (b - a) * t;
  return (x, y, z) => {
    const i = Math.floor(x);
    const j = Math.floor(y);
    const k = Math.floor(z);
    const [u, v, w] = [ease(x - i), ease(y - j), ease(z - k)];
    const plane = (n: number) =>
      mix(
        mix(lattice(i, j, n), lattice(i + 1, j, n), u),
        mix(lattice(i, j + 1, n), lattice(i + 1, j + 1, n), u),
        v,
      );
    return mix(plane(k), plane(k + 1), w);
  };
}
