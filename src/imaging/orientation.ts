/** Which way a grid's axes point: the nearest of the world's axes, as nibabel decides it. */

/** The world axis (0 R, 1 A, 2 S) a stored axis runs along most, and whether with it (1) or against it (−1). */
export interface AxisDirection {
  readonly world: 0 | 1 | 2;
  readonly sign: 1 | -1;
}

/**
 * nibabel's `io_orientation` for three axes: the nearest shear-free matrix to the affine's normalised columns
 * (its polar factor, from a singular value decomposition), then per stored axis, from the one that points most
 * clearly to the one that points least clearly, the largest remaining entry.
 * @param affine voxel→world, row-major 4×4 (or 3×4)
 * @param tol singular values up to this count as zero; the default is the largest times 3 times 2⁻⁵²
 * @returns for stored axes i, j, k their direction, or `undefined` for an axis of a singular affine that has none
 */
export function ioOrientation(affine: ArrayLike<number>, tol?: number): (AxisDirection | undefined)[] {
  const columns = [0, 1, 2].map((c) => {
    const column = [affine[c], affine[4 + c], affine[8 + c]];
    const zoom = Math.sqrt(column[0] ** 2 + column[1] ** 2 + column[2] ** 2) || 1;
    return column.map((v) => v / zoom);
  });
  const r = polarFactor(columns, tol);
  const strength = r.map((column) => Math.max(...column.map((v) => v * v)));
  const order = [0, 1, 2].sort((a, b) => strength[b] - strength[a] || a - b);
  const directions: (AxisDirection | undefined)[] = [undefined, undefined, undefined];
  for (const axis of order) {
    const column = r[axis];
    // numpy's allclose(column, 0): its absolute tolerance.
    if (column.every((v) => Math.abs(v) <= 1e-8)) continue;
    let world: 0 | 1 | 2 = 0;
    for (const w of [1, 2] as const) if (Math.abs(column[w]) > Math.abs(column[world])) world = w;
    directions[axis] = { world, sign: column[world] < 0 ? -1 : 1 };
    for (const other of r) other[world] = 0;
  }
  return directions;
}

/**
 * U·Vᵀ of the decomposition M = U·S·Vᵀ, without singular values up to `tol`: one-sided Jacobi, which turns pairs
 * of columns until all are orthogonal. Columns in, columns out.
 */
function polarFactor(matrix: readonly (readonly number[])[], tol?: number): number[][] {
  const m = matrix.map((column) => [...column]);
  const v = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  for (let sweep = 0; sweep < 60; sweep++) {
    let turned = false;
    for (const [p, q] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const [a, b] = [m[p], m[q]];
      const alpha = dot(a, a);
      const beta = dot(b, b);
      const gamma = dot(a, b);
      if (Math.abs(gamma) <= 1e-16 * Math.sqrt(alpha * beta) || gamma === 0) continue;
      turned = true;
      const zeta = (beta - alpha) / (2 * gamma);
      const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      const c = 1 / Math.sqrt(1 + t * t);
      rotate(a, b, c, c * t);
      rotate(v[p], v[q], c, c * t);
    }
    if (!turned) break;
  }
  const singular = m.map((column) => Math.sqrt(dot(column, column)));
  const least = tol ?? Math.max(...singular) * 3 * 2 ** -52;
  const r = [0, 1, 2].map(() => [0, 0, 0]);
  for (let n = 0; n < 3; n++) {
    if (!(singular[n] > least)) continue;
    for (let column = 0; column < 3; column++) {
      for (let row = 0; row < 3; row++) {
        r[column][row] += (m[n][row] / singular[n]) * v[n][column];
      }
    }
  }
  return r;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function rotate(a: number[], b: number[], c: number, s: number): void {
  for (let n = 0; n < 3; n++) {
    const x = a[n];
    const y = b[n];
    a[n] = c * x - s * y;
    b[n] = s * x + c * y;
  }
}

/** How stored axes become the axes of a result: result axis a is stored axis `from[a]`, reversed if `flip[a]`. */
export interface AxisOrder {
  readonly from: readonly [number, number, number];
  readonly flip: readonly [boolean, boolean, boolean];
}

/** The order as stored. */
export const storageOrder: AxisOrder = { from: [0, 1, 2], flip: [false, false, false] };

/** The order nearest to R, A, S. The affine must be one that the readers accept, not singular. */
export function nearestRas(affine: ArrayLike<number>): AxisOrder {
  const directions = ioOrientation(affine);
  const from: [number, number, number] = [0, 1, 2];
  const flip: [boolean, boolean, boolean] = [false, false, false];
  directions.forEach((direction, stored) => {
    if (!direction) return;
    from[direction.world] = stored;
    flip[direction.world] = direction.sign < 0;
  });
  return { from, flip };
}
