/** The connected parts of masks. */
import { type Mask, requireSize } from './masks.js';
import type { Vec3 } from './types.js';

/** Connected parts of a mask. */
export interface Components {
  /** Per voxel 0, or its component's number from 1, in the order in which their first voxels come. */
  readonly labels: Int32Array;
  /** Voxels of each component; the first is that of number 1. */
  readonly sizes: readonly number[];
}

/**
 * The connected parts of a mask, voxels that share a corner being connected (26 neighbours).
 * @throws SgpSamError `bad-argument` when the mask is not of this size
 */
export function components(mask: Mask, dims: Vec3): Components {
  requireSize(mask, dims);
  const [ni, nj, nk] = dims;
  const labels = new Int32Array(mask.length);
  // Trees of provisional numbers; every root is the least of its tree.
  const parent = [0];
  const root = (n: number) => {
    let at = n;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]];
      at = parent[at];
    }
    return at;
  };
  for (let k = 0, at = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      for (let i = 0; i < ni; i++, at++) {
        if (!(mask[at] > 0)) continue;
        let own = 0;
        // The thirteen neighbours that were visited before.
        for (let c = k > 0 ? -1 : 0; c <= 0; c++) {
          const lastB = c < 0 ? Math.min(1, nj - 1 - j) : 0;
          for (let b = j > 0 ? -1 : 0; b <= lastB; b++) {
            const lastA = c < 0 || b < 0 ? Math.min(1, ni - 1 - i) : -1;
            for (let a = i > 0 ? -1 : 0; a <= lastA; a++) {
              const other = labels[at + a + ni * (b + nj * c)];
              if (other === 0 || other === own) continue;
              if (own === 0) own = other;
              else {
                const [p, q] = [root(own), root(other)];
                parent[Math.max(p, q)] = Math.min(p, q);
              }
            }
          }
        }
        if (own === 0) {
          own = parent.length;
          parent.push(own);
        }
        labels[at] = own;
      }
    }
  }
  const sizes: number[] = [];
  const final = new Int32Array(parent.length);
  for (let n = 1; n < parent.length; n++) {
    const r = root(n);
    if (r === n) {
      sizes.push(0);
      final[n] = sizes.length;
    } else final[n] = final[r];
  }
  for (let n = 0; n < labels.length; n++) {
    if (labels[n] === 0) continue;
    labels[n] = final[labels[n]];
    sizes[labels[n] - 1]++;
  }
  return { labels, sizes };
}
