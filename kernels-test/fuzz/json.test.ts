/** Every format of JSON that is read: what is near a right one is read, or refused with an error of ours. */
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { decodeText, readJson } from '../../src/base/json.js';
import { compareText, parseProfile } from '../../src/engine/profiler/compare.js';
import { profileText } from '../../src/engine/profiler/text.js';
import { traceOf } from '../../src/engine/profiler/trace.js';
import { choicesOf, parseTunedTable, tableFits } from '../../src/engine/profiler/tune.js';
import { parseResults } from '../../src/evaluation/compare.js';
import { channelNumber, labelValues, parseDatasetJson } from '../../src/imaging/dataset.js';
import { parseLesionList } from '../../src/imaging/lesion-list.node.js';
import { profileHtml } from '../../src/report/profile.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { inferConfig } from '../../src/sam/infer.js';
import { actionsFromJson } from '../../src/session/actions-json.js';
import { readCheckpoint } from '../../src/training/checkpoint.js';
import { parseLog } from '../../src/training/log.js';
import { readSession } from '../../src/viewer/session-file.js';
import { cardOf, scopeOf } from '../../src/weights/card.js';
import { overlayWeights } from '../../src/weights/overlay.js';
import { EVALUATION } from './evaluation.js';
import { fuzz, fuzzAsync, nearJson, survives } from './support.js';

const dataset = {
  name: 'S',
  modality: { '0': 'T1', '1': 'FLAIR' },
  labels: { background: 0, edema: 1, whole: [1, 2] },
  training: [
    { image: './imagesTr/a.nii.gz', label: './labelsTr/a.nii.gz' },
    { images: ['b_0000.nii'], label: 'b.nii' },
  ],
  validation: ['imagesTr/c.nii.gz'],
};
const list = [
  {
    kind: 'lesion',
    use: 'train',
    image: 'a.nii',
    label: 'l.nii',
    value: 1,
    modality: 'CT',
    organ: 'liver',
    channel: 0,
    subject: 's',
  },
  {
    kind: 'lesion',
    use: 'test',
    image: 'b.nii',
    label: 'l.nii',
    value: '>0',
    modality: 'MR',
    organ: 'brain',
  },
];
const adapter = {
  vendor: 'v',
  architecture: 'a',
  device: 'd',
  description: 'x',
  kind: 'software',
  source: 'system',
  isFallback: false,
};
const profile = {
  format: 'sgp-sam profile 1',
  what: 'encode',
  model: 'tiny',
  adapter,
  ceilings: { fmaGflops: 1, fmaKernel: 'x', halfFmaGflops: null, copyGBs: 1 },
  engineVersion: '0.1.0',
  date: '2026-11-28T00:00:00.000Z',
  mode: 'predicated',
  runs: 5,
  clock: 'gpu',
  clockStepMs: 0,
  memory: { programBytes: 1, deviceBytes: 1, peakBytes: 2 },
  dispatches: [
    {
      stage: 'a.b',
      kernel: 'matmul',
      variant: 'tiled',
      ms: 1,
      flops: 2,
      bytes: 3,
      fastestMs: 1,
      slowestMs: 1,
      beginMs: 0,
      inRow: 1,
      shader: 0,
      workgroups: [1, 1, 1],
      liveBytes: 4,
      resolved: true,
    },
  ],
  wallMs: 2,
  encodeUsPerDispatch: 1,
};
const table = {
  format: 'sgp-sam tuned 1',
  engineVersion: '0.1.0',
  adapter,
  entries: { 'matmul 1': { variant: 'tiled', ms: 1 } },
};
const actions = [
  { click: [1, 2, 0], label: 1 },
  {
    box: [
      [0, 0, 0],
      [1, 2, 1],
    ],
  },
  {
    mask: {
      box: [
        [0, 0, 0],
        [1, 1, 0],
      ],
      runs: [1, 2, 1],
    },
  },
];
const volume = {
  name: 'x',
  dims: [3, 4, 2],
  spacing: [1, 1, 1],
  affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  channels: 1,
  channel: 0,
  datatype: 'int16',
} as const;
const session = {
  format: 'sgp-sam session',
  version: 1,
  volume: { name: 'x', dims: [3, 4, 2], affine: volume.affine, channel: 0 },
  weights: 'w',
  gates: ['auto', 'open'],
  lesions: [{ name: 'a', actions }],
};
const log = { kind: 'run', version: 1, recipe: {}, seconds: 1 };
const scope = { modalities: ['CT', 'MR'], organs: ['liver'], millilitres: [0.1, 100], extentMm: [3, 120] };
const { source } = formulaWeights('formula:sgp-tiny:0');

const FORMATS: readonly (readonly [string, unknown, (text: string) => unknown])[] = [
  [
    'dataset.json',
    dataset,
    (text) => {
      const read = parseDatasetJson(text);
      labelValues(read, 'edema');
      channelNumber(read, 'flair');
    },
  ],
  ['list of lesions', list, (text) => parseLesionList(text, '/data/list.json')],
  ['profile', profile, (text) => parseProfile(text, 'p.json')],
  [
    'tuned table',
    table,
    (text) => {
      const read = parseTunedTable(text, 't.json');
      choicesOf(read);
      tableFits(read, adapter as never);
    },
  ],
  ['session', session, (text) => readSession(text, 's.json', volume)],
  ['actions', actions, (text) => actionsFromJson(readJson(text, 'a.json'), volume.dims, 'a.json')],
  ['training log', log, (text) => parseLog(`${text}\n${text}`, 'log')],
  ['results', { ...EVALUATION.settings, cases: [EVALUATION.result] }, (text) => parseResults(text, 'r.json')],
  ['scope', scope, (text) => scopeOf('w', text)],
  [
    'card',
    scope,
    (text) =>
      cardOf({
        name: 'w',
        metadata: { format: 'sgp-sam weights', scope: text, zoom: 'auto', untrained: text },
      }),
  ],
  [
    'sites',
    [1, 3],
    (text) => inferConfig(source.tensors, { 'sgpm.sites': text, 'sgpm.dilations': text }, 'w'),
  ],
  [
    'frozen tensors of a delta',
    { 'image_encoder.pos_embed': 5, other: 1 },
    (text) => overlayWeights(source, { ...source, metadata: { format: 'sgp-sam delta', frozen: text } }),
  ],
  ...(['config', 'recipe', 'progress', 'frozen'] as const).map(
    (field) =>
      [
        `checkpoint's ${field}`,
        { a: { b: [1, 2] } },
        (text: string) => {
          const metadata = {
            format: 'sgp-sam checkpoint',
            version: '1',
            updates: '3',
            base: '',
            config: '{}',
            recipe: '{}',
            progress: '{}',
            frozen: '{}',
          };
          return readCheckpoint({ name: 'c', metadata: { ...metadata, [field]: text }, tensors: new Map() });
        },
      ] as const,
  ),
];

describe('near a right one', () => {
  test.each(FORMATS)('%s', async (_, value, read) => {
    await survives(() => read(JSON.stringify(value)));
    await fuzzAsync(
      fc.asyncProperty(nearJson(value), (text) => survives(() => read(text))),
      300,
    );
  });
});

test('a profile that was read can be shown', () => {
  const text = JSON.stringify(profile);
  const read = parseProfile(text, 'p.json');
  for (const show of [profileText, profileHtml, traceOf, (one: typeof read) => compareText(one, one)])
    show(read);
});

test('any text, any bytes, in any encoding', async () => {
  await fuzzAsync(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), (text) =>
      survives(() => readJson(text, 'x')),
    ),
    500,
  );
  await fuzzAsync(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => survives(() => readJson(bytes, 'x'))),
    500,
  );
});

test('what JSON.parse reads is read the same, but for keys that stand twice', () => {
  fuzz(
    fc.property(
      fc.json({ maxDepth: 8 }),
      fc.constantFrom('utf8' as const, 'utf16le' as const),
      (text, encoding) => {
        const bytes = Buffer.from(encoding === 'utf8' ? text : `\ufeff${text}`, encoding);
        if (encoding === 'utf8' && (bytes[0] === 0 || bytes[1] === 0)) return;
        const read = JSON.stringify(readJson(new Uint8Array(bytes), 'x'));
        if (read !== JSON.stringify(JSON.parse(text))) throw new Error(`${read} of ${text}`);
        if (decodeText(new Uint8Array(bytes)) !== text) throw new Error('text');
      },
    ),
    500,
  );
});
