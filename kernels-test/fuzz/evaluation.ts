/** An evaluation of one case as its folder has it, for what reads such files. */
const surface = { nsd: 1, hd95: 0, hd: 0, assd: 0 };
const scores = {
  dice: 0.8,
  iou: 0.7,
  sensitivity: 0.9,
  precision: 0.9,
  millilitres: 1,
  volumeError: 0.1,
  relativeVolumeError: 0.1,
  surfel: surface,
  voxel: surface,
};
const counts = { truePositives: 1, falsePositives: 0, falseNegatives: 0, precision: 1, recall: 1, f1: 1 };
const union = {
  ...scores,
  detection: {
    brats: { ...counts, lesionDice: 0.8 },
    panoptica: { ...counts, sq: 0.8, pq: 0.8, sqDice: 0.8 },
  },
};
const lesion = {
  lesion: 1,
  millilitres: 1,
  dice: [0.7, 0.8],
  iou: [0.6, 0.7],
  predictedMillilitres: [1, 1],
  clicks: [{ voxel: [1, 2, 3], label: 1 }],
  open: [0.5],
  covered: 1,
  diceAuc: 0.75,
  noc80: 2,
  noc85: null,
  noc90: null,
  first: scores,
  last: scores,
};

export const EVALUATION = {
  settings: {
    version: '0.1.0',
    dataset: 'S',
    label: [1],
    channel: null,
    task: null,
    target: 'component',
    clicks: 2,
    first: 'farthest',
    correction: 'farthest',
    seed: 0,
    tolerance: 2,
    zoom: 'off',
    preset: { name: 'sam-med3d', spacing: 1.5, clamp: null, orientation: 'ras' },
    weights: 'w',
    weightsSha256: 'x',
    config: { name: 'tiny' },
    adapter: 'x',
    variants: [],
  },
  result: {
    id: 'a',
    lesions: [lesion],
    meanDice: [0.7, 0.8],
    unionDice: [0.7, 0.8],
    first: union,
    last: union,
  },
} as const;
