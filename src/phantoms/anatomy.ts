/** Random anatomy: a head with its brain, or a body with organs, in no patient's proportions. */
import type { Vec3 } from '../imaging/types.js';
import type { Scene } from './scene.js';
import { hosts, makeTissue, type Role, type Tissue } from './tissues.js';

/** What a phantom shows: a head with its brain, or a body with organs. */
export type Anatomy = 'head' | 'body';

/** Paints an anatomy of this kind over an empty scene, distractors included. */
export function paintAnatomy(scene: Scene, anatomy: Anatomy): void {
  if (anatomy === 'head') paintHead(scene);
  else paintBody(scene);
  paintVessels(scene, anatomy);
  paintCysts(scene);
}

/** A tissue whose mean is chosen, its texture as for any of its role. */
function toned(scene: Scene, role: Role, mean: number): number {
  const made = makeTissue(role, scene.modality, scene.draws);
  return scene.tissue(role, { ...made, mean });
}

/** A head's tissues by index, in one of the styles. */
interface HeadTissues {
  readonly white: number;
  readonly grey: number;
  readonly sulcus: number;
  readonly ventricle: number;
  /** Bright on T1 with gadolinium: what falx, sinuses and choroid plexus are drawn with. */
  readonly sheet: number;
}

function headTissues(scene: Scene): HeadTissues {
  const { draws, style } = scene;
  if (style === 'any') {
    const white = scene.tissue('white');
    const grey = scene.tissue('grey', greyBeside(scene, white));
    const sulcus = scene.tissue('sulcus');
    // Fluid is one and the same within a head.
    const ventricle = scene.tissue('fluid', { ...scene.tissues[sulcus], role: 'fluid' });
    return { white, grey, sulcus, ventricle, sheet: draws.chance(0.5) ? scene.tissue('vessel') : sulcus };
  }
  const flair = style === 'flair';
  const mean = draws.uniform(0.38, 0.62);
  const fluid = flair ? draws.uniform(0.01, 0.14) : draws.uniform(0.08, 0.25);
  const white = toned(scene, 'white', mean);
  const grey = toned(scene, 'grey', mean + (flair ? draws.uniform(0.02, 0.15) : -draws.uniform(0.02, 0.15)));
  const sulcus = toned(scene, 'sulcus', fluid);
  const ventricle = toned(scene, 'fluid', fluid);
  const sheet = flair ? sulcus : toned(scene, 'vessel', mean * draws.uniform(1.2, 2.2));
  return { white, grey, sulcus, ventricle, sheet };
}

/** mm over which a head's features are given; smaller heads have finer ones. */
const HEAD = 75;

/**
 * Scalp, skull, fluid, folded cortex, white matter, ventricles and nuclei; often the brain alone. A head fits the
 * grid, or has a head's true size, of which a smaller grid shows a part.
 */
function paintHead(scene: Scene): void {
  const { draws, regions, bumps, half, x, y, z } = scene;
  const kind = scene.modality === 'mr' ? draws.unit() : 1;
  scene.style = kind < 0.27 ? 'flair' : kind < 0.6 ? 't1gd' : 'any';
  scene.stripped = draws.chance(scene.modality === 'mr' ? 0.5 : 0.2);
  const truly = draws.chance(0.55);
  const size = draws.uniform(0.78, 1.1);
  const outer = half.map((h, a) =>
    truly ? draws.uniform(64, 80) * (a === 1 ? 1.2 : 1) : h * size * draws.uniform(0.8, 0.98),
  ) as unknown as Vec3;
  // Not so far that little but air is left.
  const middle = outer.map(
    (o, a) => 0.6 * Math.abs(o - 0.6 * half[a]) * draws.uniform(-1, 1),
  ) as unknown as Vec3;
  const mean = (outer[0] + outer[1] + outer[2]) / 3;
  const scale = Math.min(1.1, Math.max(0.55, mean / HEAD));
  const [scalp, skull] = [scene.tissue('fat'), scene.tissue('bone')];
  const tissues = headTissues(scene);
  const { white, grey, sulcus, sheet } = tissues;
  // Fluid like any within the head, but no lesion grows through it to the skull.
  const csf = scene.tissue('fluid', { ...scene.tissues[sulcus], role: 'fluid' });
  const scalpAt = draws.uniform(0.9, 0.96);
  const skullAt = scalpAt - draws.uniform(0.04, 0.08);
  // A brain alone fills the grid's head, as there is nothing around it.
  const brainAt = scene.stripped ? draws.uniform(0.88, 0.98) : skullAt - draws.uniform(0.01, 0.05);
  const rough = draws.uniform(0.005, scene.stripped ? 0.05 : 0.02);
  const lumps = scene.bumpLength / (scale * draws.uniform(10, 20));
  // Folds: sulci are sheets where the bumps, stretched along the radius, pass through zero; grey matter lines them.
  const wave = Math.max(1.6 * Math.max(...scene.spacing), scale * draws.uniform(3.5, 7));
  const perMm = 1.2 / wave;
  const zoom = scene.bumpLength / wave;
  const along = draws.uniform(0.15, 0.6);
  const bottom = scale * draws.uniform(8, 26);
  const open = scale * draws.uniform(0.3, 2.2);
  const ribbon = scale * draws.uniform(1.6, 3.4);
  const fissure = draws.chance(0.8) ? draws.uniform(0.4, 1.8) : 0;
  const falx = sheet !== sulcus && draws.chance(0.6);
  const sinus = sheet !== sulcus && draws.chance(0.6) ? scale * draws.uniform(2, 5) : 0;
  const roof = draws.chance(0.45) ? draws.uniform(-0.35, -0.1) : Number.NEGATIVE_INFINITY;
  const slope = draws.uniform(0, 0.5);
  const pitch = draws.uniform(0.2, 0.7);
  for (let at = 0; at < regions.length; at++) {
    const dx = x[at] - middle[0];
    const dy = y[at] - middle[1];
    const dz = z[at] - middle[2];
    const [u, v, w] = [dx / outer[0], dy / outer[1], dz / outer[2]];
    const q = u * u + v * v + w * w;
    if (q > 1) continue;
    const plain = Math.sqrt(q);
    // No brain's outline is an ellipsoid's.
    const r = plain < 0.7 ? plain : plain * (1 + rough * scene.bumpAt(dx * lumps, dy * lumps, dz * lumps));
    if (r > brainAt) {
      if (!scene.stripped) regions[at] = r > scalpAt ? scalp : r > skullAt ? skull : csf;
      continue;
    }
    const deep = (brainAt - r) * mean;
    const side = Math.abs(dx + 0.8 * bumps[at]);
    if (fissure > 0 && side < fissure + ribbon && v * v + w * w > 0.16 && w > -0.3) {
      const thin = falx && side < 0.9 && deep < 30 * scale;
      const filled = sinus > 0 && w > 0 && side + deep < sinus;
      regions[at] = filled || thin ? sheet : side < fissure ? sulcus : grey;
      continue;
    }
    // Below the tentorium the folds are finer.
    const tent = roof + slope * v - pitch * Math.abs(u) + 0.02 * bumps[at];
    const under = v < 0.05 && w < tent;
    if (under && w > tent - 0.02) {
      regions[at] = sheet;
      continue;
    }
    if (deep > bottom + ribbon) {
      regions[at] = white;
      continue;
    }
    const finer = under ? 1.9 : 1;
    const stretch = zoom * finer * (along + ((1 - along) * 0.85 * brainAt) / Math.max(r, 0.2));
    const fold = Math.abs(scene.bumpAt(dx * stretch, dy * stretch, dz * stretch)) / (perMm * finer);
    const width = deep < bottom ? (open / finer) * (1 - deep / bottom) : 0;
    const beyond = deep > bottom ? deep - bottom : 0;
    const away = beyond > 0 ? Math.sqrt(fold * fold + beyond * beyond) : fold;
    if (away < width) regions[at] = sulcus;
    else regions[at] = away < width + ribbon / finer || deep < ribbon ? grey : white;
  }
  const brain = outer.map((o) => o * brainAt) as unknown as Vec3;
  paintDepths(scene, middle, brain, tissues);
}

/** Nuclei, then ventricles with their horns, and what shines within them. */
function paintDepths(
  scene: Scene,
  middle: Vec3,
  brain: Vec3,
  { white, ventricle, sheet }: HeadTissues,
): void {
  const { draws, style } = scene;
  const inside = scene.tissuesOf(new Set(['grey', 'white', 'nucleus', 'sulcus']));
  const place = (i: number, j: number, k: number): Vec3 => [
    middle[0] + brain[0] * i,
    middle[1] + brain[1] * j,
    middle[2] + brain[2] * k,
  ];
  for (let n = draws.whole(0, 3); n > 0; n--) {
    const nucleus =
      style === 'any'
        ? scene.tissue('nucleus')
        : toned(scene, 'nucleus', scene.tissues[white].mean + draws.uniform(-0.12, 0.12));
    inside[nucleus] = 1;
    const axes = brain.map((b) => b * draws.uniform(0.06, 0.16)) as unknown as Vec3;
    const [i, j, k] = [draws.uniform(0.2, 0.35), draws.uniform(-0.3, 0.3), draws.uniform(-0.3, 0.1)];
    for (const mirror of [1, -1]) {
      scene.paint({ centre: place(mirror * i, j, k), axes, bump: 0.05 }, nucleus, inside);
    }
  }
  if (draws.chance(0.08)) return;
  scene.ventricle = ventricle;
  const wide = draws.uniform(0.04, 0.13);
  const high = draws.uniform(0.08, 0.2);
  const long = draws.uniform(0.18, 0.34);
  const apart = wide + draws.uniform(0.01, 0.08);
  const spread = draws.uniform(0.05, 0.3);
  const horns = draws.chance(0.8);
  const plexus = sheet !== ventricle && draws.chance(0.5);
  const within = new Uint8Array(256);
  within[ventricle] = 1;
  for (const mirror of [1, -1]) {
    // Along an arc from the frontal to the occipital horn, the two apart behind, as a V.
    for (let t = -1; t <= 1; t += 0.25) {
      const bulk = 1 - 0.55 * t * t;
      const axes: Vec3 = [brain[0] * wide * bulk, brain[1] * long * 0.4, brain[2] * high * bulk];
      const off = mirror * (apart + spread * Math.max(0, -t) ** 2);
      scene.paint({ centre: place(off, long * t, 0.12 - 0.1 * t * t), axes, bump: 0.05 }, ventricle, inside);
    }
    if (horns) {
      // The temporal horn: down and forward.
      for (let t = 0; t <= 1; t += 0.2) {
        const axes = brain.map((b) => b * wide * (0.7 - 0.3 * t)) as unknown as Vec3;
        const centre = place(mirror * (apart + spread + 0.1 * t), -long * (0.9 - 0.9 * t), -0.3 * t);
        scene.paint({ centre, axes }, ventricle, inside);
      }
    }
    if (plexus) {
      const axes = brain.map((b) => b * draws.uniform(0.015, 0.05)) as unknown as Vec3;
      const centre = place(mirror * (apart + 0.25 * spread), -0.5 * long, 0.08);
      scene.paint({ centre, axes, rotation: draws.rotation(), bump: 0.1 }, sheet, within);
    }
  }
  if (draws.chance(0.7)) {
    const axes: Vec3 = [brain[0] * draws.uniform(0.015, 0.05), brain[1] * 0.14, brain[2] * 0.14];
    scene.paint({ centre: place(0, 0, -0.12), axes }, ventricle, inside);
  }
}

/** Grey matter that can be told from white. */
function greyBeside(scene: Scene, white: number): Tissue {
  const made = makeTissue('grey', scene.modality, scene.draws);
  if (scene.modality === 'ct') return made;
  const { mean } = scene.tissues[white];
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
    const bump = bumps[at];
    const grow = 1 / (1 + taper * z[at]);
    const u = (x[at] * grow) / a;
    const v = (y[at] * grow) / b;
    const [u2, v2] = [u * u, v * v];
    const sum = power === 2 ? u2 + v2 : power === 4 ? u2 * u2 + v2 * v2 : u2 * Math.abs(u) + v2 * Math.abs(v);
    const r = sum * (1 + 0.012 * power * bump);
    if (r > 1) continue;
    if (r > fatFrom) regions[at] = fat;
    else if (r <= muscleFrom) regions[at] = interior;
    else if (ribs > 0 && r > ribFrom && r < ribTo) {
      const phase = (z[at] + slope * y[at]) / ribs + 0.06 * bump;
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
  const { draws, half, reach, style } = scene;
  const over = scene.tissuesOf(new Set([...hosts, 'sulcus']));
  const gadolinium = style === 't1gd';
  const count = gadolinium ? draws.whole(5, 18) : draws.whole(2, 9);
  // Blood that flows is dark on FLAIR; bright tubes there would be lesions to any reader.
  const vessel =
    style === 'any'
      ? scene.tissue('vessel')
      : toned(scene, 'vessel', gadolinium ? draws.uniform(0.75, 1.3) : draws.uniform(0.02, 0.2));
  for (let n = 0; n < count; n++) {
    const from = half.map((h) => h * 0.8 * draws.uniform(-1, 1)) as unknown as Vec3;
    const radius = Math.min(reach / 8, draws.logUniform(0.8, anatomy === 'head' ? 2.2 : 5));
    scene.tube(from, radius, reach * draws.uniform(0.3, 1.2), vessel, over);
    if (draws.chance(0.4)) scene.tube(from, 0.8 * radius, reach * draws.uniform(0.3, 0.8), vessel, over);
  }
}

/** Round, smooth, of one fluid's intensity: like lesions, and not labelled. */
function paintCysts(scene: Scene): void {
  const { draws, half, reach, style, ventricle } = scene;
  const over = scene.tissuesOf(hosts);
  // Where lesions are bright, cysts look as the head's other fluid, or they would be lesions without a label.
  const own = style === 'any' || ventricle === undefined ? undefined : scene.tissues[ventricle];
  const count = draws.chance(0.5) ? draws.whole(1, 4) : 0;
  for (let n = 0; n < count; n++) {
    const base = draws.logUniform(1.5, Math.max(3, Math.min(12, reach / 6)));
    const axes = [1, 1, 1].map(() => base * draws.uniform(0.8, 1.2)) as unknown as Vec3;
    const centre = half.map((h) => h * 0.6 * draws.uniform(-1, 1)) as unknown as Vec3;
    scene.paint({ centre, axes, rotation: draws.rotation() }, scene.tissue('fluid', own), over);
  }
}
