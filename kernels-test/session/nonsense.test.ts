/** Nonsense for every argument of every public function: always an error of ours with a code, never a foreign one. */
import { describe, expect, test } from 'vitest';
import * as api from '../../src/index.node.js';
import * as phantoms from '../../src/phantoms/index.js';

const NONSENSE: readonly unknown[] = [
  undefined,
  null,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -1,
  0.5,
  true,
  '',
  'nonsense',
  [],
  [null],
  ['x', 'y', 'z'],
  {},
  { length: -1 },
  () => undefined,
  10n,
];

/** A call that may do anything but throw what is not ours, or never end. */
async function survives(name: string, call: () => unknown, shown: string): Promise<boolean> {
  let result: unknown;
  try {
    result = await call();
    // A generator does nothing before it is asked.
    if (typeof result === 'object' && result !== null && Symbol.asyncIterator in result)
      await (result as AsyncGenerator).next();
    return false;
  } catch (error) {
    expect(error, `${name}(${shown})`).toBeInstanceOf(api.SgpSamError);
    const { code, message } = error as api.SgpSamError;
    expect(code, message).not.toBe('gpu-error');
    return true;
  }
}

const show = (value: unknown): string =>
  typeof value === 'object' && value !== null ? (JSON.stringify(value) ?? '').slice(0, 60) : String(value);

const mask = new Uint8Array(27);
const dims = [3, 3, 3] as const;
const spacing = [1, 1, 1] as const;
const overlap = { prediction: 1, truth: 2, both: 1 };
const phantom = api.makePhantom({ dims: [16, 16, 16] });
const volume = phantom.volume;
const surfaces = api.surfaceDistances(mask, mask, dims, spacing, 'voxel');
const source = api.formulaWeights('formula:tiny:0').source;
const cases = { ids: ['a'], load: async () => undefined };
const config = api.configByName('tiny');
const rows = [{ stage: 's', kernel: 'k', ms: 1 }];
const score = { dice: [1], open: [1], millilitres: 1 };
const schedule = { kind: 'constant' } as const;
const recipe = { lr: 1, weightDecay: 0, groups: [], loss: 'dice' };

/** Arguments that make sense, as far as they are looked at before work begins. */
const GOOD: Readonly<Record<string, readonly unknown[]>> = {
  actionsFromJson: [[], dims, 'x'],
  actionsToJson: [[]],
  assd: [surfaces],
  blobSource: [new Blob([]), 'x'],
  bootstrapMean: [[[1]], { seed: 1 }],
  bratsLesions: [mask, mask, dims, spacing, {}],
  bySize: [[score]],
  cached: [cases, 1],
  calibrationOf: [[[0, 1]], 5],
  checkpointBase: ['ft-dice', source, 1],
  checkpointChunks: [{}, {}, {}],
  choicesOf: [{ entries: {}, adapter: {} }],
  clickAuc: [[1, 1]],
  clicksToReach: [[1], 0.5],
  compareText: [{}, {}],
  configByName: ['tiny'],
  defaultSgpm: [config],
  dice: [overlap],
  diceOf: [mask, mask],
  dilate: [mask, dims, 1],
  fetchWeights: ['https://nowhere.invalid/x', {}],
  groupBy: [rows, () => 'x'],
  groupsOf: [recipe],
  hausdorff: [surfaces, 95],
  initialBase: ['ft-dice', config, 1],
  iou: [overlap],
  listSeriesFiles: ['/nowhere', {}],
  lossOf: [recipe],
  mDice: [[overlap], 'one'],
  makePhantom: [{ dims: [16, 16, 16] }],
  makeTrainingPhantom: [{ seed: 1, size: [16, 16, 16] }],
  markDevTools: [{}, 1],
  matcher: ['a'],
  meanDice: [[score]],
  measureCeilings: [{}],
  memorySource: [new Uint8Array(1), 'x'],
  montagePng: [volume, { click: [1, 1, 1], pixels: 40 }],
  nsd: [surfaces, 1],
  openDevice: [{ adapter: 'nonsense' }],
  openSegmenter: [{ weights: new Uint8Array(1) }],
  openWeightFile: ['/nowhere', {}],
  openWeights: [api.memorySource(new Uint8Array(9)), {}],
  overlapOf: [mask, mask],
  overlayWeights: [source, source],
  panopticaLesions: [mask, mask, dims, 0.5],
  parity: [{}, source, {}],
  parseProfile: ['{}', 'x'],
  parseTunedTable: ['{}', 'x'],
  phantomCases: [{ count: 1, seed: 1, size: 16, spacing: 1, modality: 'mr' }, 'train'],
  precision: [overlap],
  profileHtml: [{}],
  profileProgram: [{}, {}, {}],
  profileText: [{}, 1],
  readDicomSeg: [new Uint8Array(9), volume, {}],
  readNifti: [new Uint8Array(9), {}],
  readNiftiFile: ['/nowhere', {}],
  readVolumeFile: ['/nowhere', {}],
  restoreCheckpoint: [source, {}, {}, {}],
  scheduleFactor: [schedule, 0, 1],
  sensitivity: [overlap],
  serveSegmenter: [{ postMessage: () => {}, addEventListener: () => {} }, async () => undefined, {}],
  shadersOf: [{ dispatches: [] }],
  signedRank: [[1, 2], 'pratt'],
  simulateClicks: [{}, volume, mask, {}],
  risingFit: [[[0, 1], [1, 2]], 1], // biome-ignore format: pairs
  spearman: [[[0, 1]]],
  surfaceDistances: [mask, mask, dims, spacing, 'surfel'],
  surfelAreas: [spacing],
  tableFits: [{ entries: {}, adapter: {} }, {}],
  traceOf: [{}],
  train: [{}, {}],
  tuneProgram: [async () => undefined, {}],
  tunedTable: [{}, {}],
  validate: [{}, cases, {}],
  volumeError: [overlap, 1],
  weightChunks: [{}, 'full', {}, {}, {}],
  worldToVoxel: [volume, [1, 2, 3]],
  writeFloat: [volume, new Float32Array(volume.data.length), 'x.nii'],
  writeDicomSeg: [volume, [], {}],
  writeMask: [volume, new Uint8Array(volume.data.length), 'x.nii'],
  writeVolume: [volume, 'x.nii'],
};

/** Exported, and not to be thrown nonsense at here: why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  formulaWeights: 'its text is what a command line or openSegmenter checked',
  capabilitiesOf: 'for kernels of one’s own: takes an Engine, which only this package makes',
  windowAttention: 'an operation, for benches: takes tensors of a graph, and says what does not fit',
  usualWeights: 'for kernels of one’s own: takes what capabilitiesOf gave',
  writeFileAtomic: 'writes files: its errors are tested where files are written',
};

const functions = Object.entries({ ...api, ...phantoms }).filter(
  ([, value]) => typeof value === 'function' && !/^class\b/.test(String(value)),
);

test('every exported function is in the table', () => {
  const names = functions.map(([name]) => name);
  expect(names.sort()).toEqual([...Object.keys(GOOD), ...Object.keys(LEFT_OUT)].sort());
  for (const [name, why] of Object.entries(LEFT_OUT)) console.log(`left out: ${name}: ${why}`);
});

describe('each argument in turn', () => {
  test.each(Object.entries(GOOD))('%s', async (name, good) => {
    const run = ({ ...api, ...phantoms } as unknown as Record<string, (...a: unknown[]) => unknown>)[name];
    await survives(name, () => run(), '');
    let refused = 0;
    for (const at of good.keys()) {
      for (const nonsense of NONSENSE) {
        const args = good.map((arg, n) => (n === at ? nonsense : arg));
        if (await survives(name, () => run(...args), args.map(show).join(', '))) refused++;
      }
      // And for each field of options.
      const own = good[at];
      if (typeof own !== 'object' || own === null || Object.getPrototypeOf(own) !== Object.prototype)
        continue;
      // What this package made itself is not taken apart and put together wrong.
      if (own === source || own === volume) continue;
      for (const field of Object.keys(own)) {
        for (const nonsense of NONSENSE.slice(1)) {
          const args = good.map((arg, n) => (n === at ? { ...own, [field]: nonsense } : arg));
          await survives(name, () => run(...args), `${field}: ${String(nonsense)}`);
        }
      }
    }
    expect(refused).toBeGreaterThan(0);
  });
});

/** Options of openSegmenter, each with nonsense; weights that would open, and no device that would. */
describe('openSegmenter', () => {
  const weights = 'formula:tiny:0';
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    weights: [null, 5, {}, [], true, () => {}],
    deltaWeights: [null, 5, {}],
    sha256: [5, {}],
    adapter: ['zzz', 5, {}],
    weightStorage: ['f64', 1],
    gateMode: ['x', null, {}],
    gates: ['open', {}, [1], [null], ['ajar']],
    budgetMs: [Number.NaN, -1, 0, '12', Number.POSITIVE_INFINITY],
    preset: ['zzz', 5, {}, null, { name: 'x', spacing: Number.NaN, orientation: 'ras', clamp: null }],
    zoom: ['x', -1, Number.NaN, {}],
    device: [{}, 5, 'gpu', null],
    announce: [5, 'x'],
    progress: [5, {}],
    signal: [5, {}, 'x'],
  };
  test.each(Object.entries(wrong))('%s', async (field, values) => {
    for (const value of values) {
      const error = await api.openSegmenter({ weights, [field]: value } as never).catch((e) => e);
      expect(error, String(value)).toBeInstanceOf(api.SgpSamError);
      expect((error as api.SgpSamError).code).toBe('bad-argument');
      expect((error as Error).message).toMatch(
        new RegExp(field === 'preset' ? 'preset|Preset' : field.replace(/s$/, '')),
      );
    }
  });
});
