/** Where in an anatomy a lesion may lie, and what it grows into. */
import type { Draws } from '../base/draws.js';
import type { Vec3 } from '../imaging/types.js';
import type { Anatomy3 } from './label-maps.js';
import type { PatchStyle } from './patch-painting.js';
import { hosts, type Role } from './tissues.js';

/** Roles of lesions' hosts in a body, and how often. */
export function drawHost(
  anatomy: Anatomy3,
  style: PatchStyle,
  diameter: number,
  draws: Draws,
): { centre: Vec3; role: Role } | undefined {
  const { roles, classes, dims, spacing } = anatomy;
  const has = new Set(roles);
  const head = anatomy.kind === 'head';
  let wanted: readonly Role[] = [...hosts].filter((role) => has.has(role) && !(head && FACE.has(role)));
  if (!head && has.has('fat') && draws.chance(0.2)) wanted = ['fat'];
  if (!head && has.has('lung') && draws.chance(style === 'mr' ? 0.05 : 0.5)) wanted = ['lung'];
  if (head && has.has('vessel') && draws.chance(0.04)) wanted = ['vessel'];
  if (head && has.has('muscle') && draws.chance(0.04)) wanted = ['muscle'];
  const good = roles.map((role) => wanted.includes(role));
  const attached = wanted[0] === 'lung' ? draws.chance(0.6) : draws.chance(0.15);
  for (let tries = 0; tries < 3000; tries++) {
    const n = draws.whole(0, classes.length - 1);
    if (!good[classes[n]]) continue;
    const start: [number, number, number] = [
      n % dims[0],
      Math.floor(n / dims[0]) % dims[1],
      Math.floor(n / (dims[0] * dims[1])),
    ];
    const role = roles[classes[n]];
    if (!attached) return { centre: start, role };
    // On to the border of what hosts, and back into it by a part of the radius.
    const direction = draws.direction();
    const back = diameter * draws.uniform(0.15, 0.45);
    for (let mm = 0; mm < 60; mm += 1) {
      const at = start.map((c, a) => Math.round(c + (mm * direction[a]) / spacing[a])) as [
        number,
        number,
        number,
      ];
      if (at.some((c, a) => c < 0 || c >= dims[a])) break;
      if (good[classes[at[0] + dims[0] * (at[1] + dims[1] * at[2])]]) continue;
      return {
        centre: start.map((c, a) => c + ((mm - back) * direction[a]) / spacing[a]) as unknown as Vec3,
        role,
      };
    }
  }
  return undefined;
}

/** A head's soft parts around the brain, where lesions are rare. */
const FACE: ReadonlySet<Role> = new Set(['muscle', 'organ']);
/** What a lesion in a host of this role grows into. */
export function openTable(
  { roles, kind }: Anatomy3,
  host: Role,
  diameter: number,
  draws: Draws,
): Float32Array {
  const open = new Set<Role>(['white', 'grey', 'nucleus', 'vessel', 'organ', 'muscle']);
  if (kind === 'head') {
    if (diameter > 12 ? draws.chance(0.6) : draws.chance(0.15)) open.add('sulcus');
    if (draws.chance(diameter > 25 ? 0.4 : 0.05)) open.add('fluid');
    if (roles.length <= 3) open.delete('organ');
    open.delete('muscle');
  } else if (host === 'lung') {
    if (draws.chance(0.7)) {
      open.clear();
      open.add('vessel');
    } else open.add('fat');
    open.add('lung');
    open.add('gas');
  } else if (host === 'fat' || draws.chance(diameter > 20 ? 0.8 : 0.4)) open.add('fat');
  if (kind === 'body' && draws.chance(0.12)) open.add('bone');
  const table = new Float32Array(256);
  roles.forEach((role, n) => {
    table[n] = open.has(role) || role === host ? 1 : 0;
  });
  return table;
}
