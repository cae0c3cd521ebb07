/** Random anatomy: a head with its brain, or a body with organs, in no patient's proportions. */
import type { Vec3 } from '../types.js';
import type { Scene } from './scene.js';
import { hosts, makeTissue, type Role, type Tissue } from './tissues.js';

export type Anatomy = 'head' | 'body';

/** Paints an anatomy of this kind over an empty scene, distractors included. */
export function paintAnatomy(scene: Scene, anatomy: Anatomy): void {
  if (anatomy === 'head') paintHead(scene);
  else paintBody(scene);
  paintVessels(scene, anatomy);
  paintCysts(scene);
}

/** Scalp, skull, fluid, folded cortex, white matter, ventricles and nuclei; sometimes the brain alone. */
function paintHead(scene: Scene): void {
  const { draws, regions, bumps, x, y, z } = scene;
  const size = draws.uniform(0.78, 1.1);
  const outer = scene.half.map((h) => h * size * draws.uniform(0.8, 0.98)) as unknown as Vec3;
  const stripped = draws.chance(0.35);
  const [scalp, skull, fluid] = [scene.tissue('fat'), scene.tissue('bone'), scene.tissue('fluid')];
  const white = scene.tissue('white');
  const grey = scene.tissue('grey', greyBeside(scene, white));
  const scalpAt = draws.uniform(0.9, 0.96);
  const skullAt = scalpAt - draws.uniform(0.04, 0.08);
  const brainAt = skullAt - draws.uniform(0.01, 0.05);
  const cortex = draws.uniform(0.7, 0.8);
  const folding = draws.uniform(0.05, 0.13);
  const sulci = draws.uniform(0.4, 1.3);
  for (let at = 0; at < regions.length; at++) {
    const r = Math.sqrt((x[at]! / outer[0]) ** 2 + (y[at]! / outer[1]) ** 2 + (z[at]! / outer[2]) ** 2);
    if (r > 1) continue;
    if (r > brainAt) {
      if (!stripped) regions[at] = r > scalpAt ? scalp : r > skullAt ? skull : fluid;
      continue;
    }
    const bump = bumps[at]!;
    const depth = r / brainAt;
    // Sulci are where the bumps' field passes through zero near the surface.
    if (depth > cortex + 0.08 && Math.abs(bump) < sulci * (depth - cortex)) regions[at] = fluid;
    else regions[at] = depth > cortex + 0.06 + folding * bump ? grey : white;
  }
  const brain = outer.map((o) => o * brainAt) as unknown as Vec3;
  const inside = scene.tissuesOf(new Set(['grey', 'white', 'nucleus']));
  const side = brain[0] * draws.uniform(0.12, 0.2);
  const lateral: Vec3 = [
    brain[0] * draws.uniform(0.04, 0.12),
    brain[1] * draws.uniform(0.2, 0.4),
    brain[2] * draws.uniform(0.1, 0.22),
  ];
  for (let n = draws.whole(0, 3); n > 0; n--) {
    const nucleus = scene.tissue('nucleus');
    const axes = brain.map((b) => b * draws.uniform(0.06, 0.16)) as unknown as Vec3;
    const centre = [draws.uniform(0.2, 0.35), draws.uniform(-0.3, 0.3), draws.uniform(-0.3, 0.1)];
    for (const mirror of [1, -1]) {
      const at: Vec3 = [mirror * brain[0] * centre[0]!, brain[1] * centre[1]!, brain[2] * centre[2]!];
      scene.paint({ centre: at, axes, bump: 0.05 }, nucleus, inside);
    }
  }
  for (const mirror of [1, -1]) {
    scene.paint({ centre: [mirror * side, 0, brain[2] * 0.12], axes: lateral, bump: 0.06 }, fluid, inside);
  }
}

/** Grey matter that can be told from white. */
function greyBeside(scene: Scene, white: number): Tissue {
  const made = makeTissue('grey', scene.modality, scene.draws);
  if (scene.modality === 'ct') return made;
  const { mean } = scene.tissues[white]!;
  const apart = scene.draws.uniform(0.06, 0.25);
  const sign = mean > 0.6 ? -1 : mean < 0.35 ? 1 : scene.draws.sign();
  return { ...made, mean: mean + sign * apart };
}

/** An interior of soft tissue: on CT the default is fat, on MR anything. */
function softInterior(scene: Scene): Tissue {
  return { ...makeTissue('organ', scene.modality, scene.draws), role: 'interior' };
}

/** Skin and fat, muscle with ribs, an interior full of organs, a spine, sometimes lungs or gas. */
function paintBody(scene: Scene): void {
  const { draws, regions, bumps, x, y, z, half, reach } = scene;
  // From a child's whole width to a cut-out that shows no skin at all.
  const size = draws.uniform(0.75, 1.6);
  const [a, b] = [half[0] * size, half[1] * size * draws.uniform(0.7, 1)];
  const power = draws.whole(2, 4);
  const taper = draws.uniform(-0.15, 0.15) / half[2];
  const [fat, muscle, bone] = [scene.tissue('fat'), scene.tissue('muscle'), scene.tissue('bone')];
  // Fat around the organs, or tissue like theirs.
  const interior = scene.tissue('interior', draws.chance(0.5) ? undefined : softInterior(scene));
  const fatTo = 1 - draws.uniform(0.02, 0.15);
  const muscleTo = fatTo - draws.uniform(0.05, 0.16);
  const ribs = draws.chance(0.6) ? draws.uniform(16, 32) : 0;
  const slope = draws.uniform(-0.6, 0.6);
  // Thresholds are raised to the outline's power instead of taking a root per voxel.
  const [fatFrom, muscleFrom] = [fatTo ** power, muscleTo ** power];
  const [ribFrom, ribTo] = [(muscleTo + 0.01) ** power, (fatTo - 0.02) ** power];
  for (let at = 0; at < regions.length; at++) {
    const bump = bumps[at]!;
    const grow = 1 / (1 + taper * z[at]!);
    const u = (x[at]! * grow) / a;
    const v = (y[at]! * grow) / b;
    const [u2, v2] = [u * u, v * v];
    const sum = power === 2 ? u2 + v2 : power === 4 ? u2 * u2 + v2 * v2 : u2 * Math.abs(u) + v2 * Math.abs(v);
    const r = sum * (1 + 0.012 * power * bump);
    if (r > 1) continue;
    if (r > fatFrom) regions[at] = fat;
    else if (r <= muscleFrom) regions[at] = interior;
    else if (ribs > 0 && r > ribFrom && r < ribTo) {
      const phase = (z[at]! + slope * y[at]!) / ribs + 0.06 * bump;
      regions[at] = phase - Math.floor(phase) < 0.3 ? bone : muscle;
    } else regions[at] = muscle;
  }
  const inner = scene.tissuesOf(new Set(['interior', 'organ']));
  const reachOf: Vec3 = [Math.min(a * muscleTo, half[0]), Math.min(b * muscleTo, half[1]), half[2]];
  const somewhere = (share: number): Vec3 =>
    reachOf.map((h) => h * share * draws.uniform(-1, 1)) as unknown as Vec3;
  if (draws.chance(0.3)) {
    const lung = scene.tissue('lung');
    const axes = reachOf.map((h) => h * draws.uniform(0.35, 0.6)) as unknown as Vec3;
    const up = half[2] * draws.uniform(-0.6, 0.6);
    for (const mirror of [1, -1]) {
      scene.paint({ centre: [mirror * reachOf[0] * 0.5, 0, up], axes, bump: 0.05 }, lung, inner);
    }
  }
  const organ = (low: number, high: number, role: Role = 'organ', over = inner) => {
    const base = reach * draws.logUniform(low, high);
    const axes = [1, 1, 1].map(() => base * draws.uniform(0.6, 1.5)) as unknown as Vec3;
    const tissue = scene.tissue(role);
    over[tissue] = 1;
    scene.paint(
      { centre: somewhere(0.8), axes, rotation: draws.rotation(), bump: draws.uniform(0.02, 0.1) },
      tissue,
      over,
    );
  };
  organ(0.45, 0.8);
  for (let n = draws.whole(4, 14); n > 0; n--) organ(0.1, 0.45);
  // Loops of bowel, their contents first fluid or tissue and then perhaps gas.
  for (let n = draws.whole(0, 3); n > 0; n--) {
    const wall = scene.tissue(draws.chance(0.5) ? 'fluid' : 'organ');
    scene.tube(
      somewhere(0.7),
      draws.uniform(0.05, 0.1) * reach,
      reach * draws.uniform(0.8, 2),
      wall,
      inner,
      0.9,
    );
  }
  if (draws.chance(0.5)) organ(0.08, 0.25, 'fluid');
  if (draws.chance(0.35)) organ(0.06, 0.2, 'gas');
  if (draws.chance(0.7)) paintSpine(scene, [0, -reachOf[1] * draws.uniform(0.6, 0.85), 0], bone);
}

/** A column of vertebrae with discs between them, along k. */
function paintSpine(scene: Scene, [x, y]: Vec3, bone: number): void {
  const { draws, half, reach } = scene;
  const all = new Uint8Array(256).fill(1);
  all[0] = 0;
  const disc = scene.tissue('muscle');
  const canal = scene.tissue('fluid');
  const radius = reach * draws.uniform(0.13, 0.2);
  const pitch = radius * draws.uniform(1.3, 1.9);
  const begin = draws.uniform(0, pitch);
  scene.paint({ centre: [x, y, 0], axes: [0.85 * radius, 0.7 * radius, 4 * half[2]] }, disc, all);
  for (let z = -half[2] - begin; z < half[2] + pitch; z += pitch) {
    scene.paint({ centre: [x, y, z], axes: [radius, 0.8 * radius, 0.5 * pitch], bump: 0.04 }, bone, all);
    scene.paint(
      { centre: [x, y - 1.5 * radius, z], axes: [0.3 * radius, 0.7 * radius, 0.3 * pitch] },
      bone,
      all,
    );
  }
  scene.paint({ centre: [x, y - radius, 0], axes: [0.35 * radius, 0.3 * radius, 4 * half[2]] }, canal, all);
}

/** Tubes that look like lesions in one slice and are none; a few of them branch. */
function paintVessels(scene: Scene, anatomy: Anatomy): void {
  const { draws, half, reach } = scene;
  const over = scene.tissuesOf(hosts);
  const count = draws.whole(2, 9);
  const vessel = scene.tissue('vessel');
  for (let n = 0; n < count; n++) {
    const from = half.map((h) => h * 0.7 * draws.uniform(-1, 1)) as unknown as Vec3;
    const radius = Math.min(reach / 8, draws.logUniform(0.8, anatomy === 'head' ? 2.2 : 5));
    scene.tube(from, radius, reach * draws.uniform(0.3, 1.2), vessel, over);
    if (draws.chance(0.4)) scene.tube(from, 0.8 * radius, reach * draws.uniform(0.3, 0.8), vessel, over);
  }
}

/** Round, smooth, of one fluid's intensity: like lesions, and not labelled. */
function paintCysts(scene: Scene): void {
  const { draws, half, reach } = scene;
  const over = scene.tissuesOf(hosts);
  const count = draws.chance(0.5) ? draws.whole(1, 4) : 0;
  for (let n = 0; n < count; n++) {
    const base = draws.logUniform(1.5, Math.max(3, Math.min(12, reach / 6)));
    const axes = [1, 1, 1].map(() => base * draws.uniform(0.8, 1.2)) as unknown as Vec3;
    const centre = half.map((h) => h * 0.6 * draws.uniform(-1, 1)) as unknown as Vec3;
    scene.paint({ centre, axes, rotation: draws.rotation() }, scene.tissue('fluid'), over);
  }
}
