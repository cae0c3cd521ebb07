/** `sgp-sam segment` on a phantom: what it writes, and that nothing but the question decides what that is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openDevice } from '../../src/engine/gpu/node/open.js';
import { applyAffine } from '../../src/imaging/affine.js';
import { readNiftiFile } from '../../src/imaging/nifti.node.js';
import { pasteBack } from '../../src/imaging/paste-back.js';
import { preprocess } from '../../src/imaging/preprocess.js';
import { configByName } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import { segmenterOpener } from '../../src/session/local-segmenter.js';
import type { Warning } from '../../src/session/warnings.js';
import { parseZoom, type ZoomReport } from '../../src/session/zoom.js';
import { formulaWeights, fromF32, samMed3dReference, stage, tensor64, toF32 } from '../reference/index.js';
import { referenceConfigs } from '../reference/sam-med3d.js';
import { type CliResult, runCli } from '../support/cli.js';
import { testEngine } from '../support/run.js';
import { archive, stateDict, torchTensor } from '../weights/support/checkpoint.js';
import {
  changed,
  click,
  closedGate,
  contents,
  fourDimensional,
  geometryOf,
  inflated,
  modelTensors,
  ones,
  phantom,
  pointText,
  put,
  scratchFolder,
  volumeOf,
  writeSafetensors,
  writeVolume,
} from './support.js';

interface Report {
  volume: string;
  dims: number[];
  preset: string;
  weights: string;
  trained: boolean;
  config: { name: string; volume: number };
  clicks: { voxel: number[]; label: number; iouEstimate: number; voxels: number }[];
  voxels: number;
  millilitres: number;
  iouEstimate: number;
  box: { min: number[]; max: number[] } | null;
  roi: { begin: number[]; size: number; affine: number[]; mean: number; std: number };
  gates: {
    module: string;
    block: number;
    openChannels: number;
    channels: number;
    values: number[];
    executedDispatches: number;
    skippedDispatches: number;
    dispatches: { kernel: string; planned: number; executed: number }[];
  }[];
  milliseconds: {
    readVolume: number;
    loadModel: number;
    loadWeights: number;
    compile: number;
    preprocess: number;
    encode: number;
    decode: number[];
    pasteBack: number;
    firstMask: number;
  };
  zoom: ZoomReport;
  warnings: Warning[];
  encodes: number;
  encoderGflop: number;
  peakGpuBytes: number;
  gateMode: string;
  adapter: { kind: string; source: string; description: string };
}

const scratch = scratchFolder();
const source = put(scratch, 'head.nii.gz', writeVolume(phantom.volume, 'head.nii.gz'));
const { dims } = phantom.volume;

interface Outputs {
  readonly result: CliResult;
  readonly folder: string;
  readonly report: Report;
  readonly files: string[];
  /** Header and voxels. */
  readonly mask: Buffer;
  readonly prob: Float32Array;
}

/** Segments into a folder of its own, with every output. */
async function segment(
  name: string,
  args: readonly string[],
  options: { volume?: string; weights?: string; mask?: string } = {},
): Promise<Outputs> {
  const folder = join(scratch, name);
  put(folder, 'keep', '');
  const at = (file: string) => join(folder, file);
  const { volume = source, weights = 'formula:sgp-tiny', mask = 'mask.nii.gz' } = options;
  const outputs = ['-o', at(mask), '--prob', at('p.nii.gz'), '--report', at('r.json'), '--png', at('m.png')];
  const result = await runCli(['segment', volume, '--weights', weights, ...outputs, ...args]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  const prob = inflated(at('p.nii.gz'));
  return {
    result,
    folder,
    report: JSON.parse(readFileSync(at('r.json'), 'utf8')) as Report,
    files: contents(folder).filter((file) => file !== 'keep'),
    mask: inflated(at(mask)),
    prob: new Float32Array(Uint8Array.from(prob.subarray(352)).buffer),
  };
}

const voxelsOf = (file: Buffer) => file.subarray(352);
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const point = ['-p', pointText(click)];
let plain: Outputs;

beforeAll(async () => {
  plain = await segment('plain', point);
});

describe('what a run writes', () => {
  test('mask, probabilities, report and picture, and nothing else', () => {
    expect(plain.files).toEqual(['m.png', 'mask.nii.gz', 'p.nii.gz', 'r.json']);
    for (const file of plain.files)
      expect(plain.result.stdout).toContain(`wrote ${join(plain.folder, file)}`);
    const png = readFileSync(join(plain.folder, 'm.png'));
    expect([...png.subarray(0, 8)]).toEqual([137, 80, 78, 71, 13, 10, 26, 10]);
    expect(png.readUInt32BE(16)).toBeGreaterThan(100);
  });

  test("mask and probabilities have the source's grid byte for byte, and their own data type", () => {
    const header = inflated(source);
    const prob = inflated(join(plain.folder, 'p.nii.gz'));
    for (const file of [plain.mask, prob]) {
      expect(geometryOf(file)).toEqual(geometryOf(header));
      expect(file.readInt16LE(40)).toBe(3);
      expect(file.readFloatLE(108)).toBe(352);
      expect([file.readFloatLE(112), file.readFloatLE(116)]).toEqual([1, 0]);
    }
    expect([plain.mask.readInt16LE(70), plain.mask.readInt16LE(72)]).toEqual([2, 8]);
    expect([prob.readInt16LE(70), prob.readInt16LE(72)]).toEqual([16, 32]);
    const voxels = dims[0] * dims[1] * dims[2];
    expect(plain.mask.length).toBe(352 + voxels);
    expect(prob.length).toBe(352 + 4 * voxels);
  });

  test('the mask is where the probability is above ½, and holds nothing but 0 and 1', () => {
    const mask = voxelsOf(plain.mask);
    let disagreeing = 0;
    for (let n = 0; n < mask.length; n++) {
      const p = plain.prob[n];
      if (!(p >= 0 && p <= 1) || mask[n] !== (p > 0.5 ? 1 : 0)) disagreeing++;
    }
    expect(disagreeing).toBe(0);
    expect(ones(mask)).toBeGreaterThan(100);
    expect(ones(mask)).toBeLessThan(mask.length / 2);
  });

  test('the report counts what is in the mask file', () => {
    const { report } = plain;
    const mask = voxelsOf(plain.mask);
    const count = ones(mask);
    expect(report).toMatchObject({
      volume: 'head.nii.gz',
      dims: [...dims],
      preset: 'sam-med3d',
      weights: 'formula:sgp-tiny',
      trained: false,
      gateMode: 'predicated',
      voxels: count,
      config: { name: 'tiny', volume: 48 },
    });
    expect(plain.result.stdout).toContain(`mask: ${count} voxels`);
    // Voxels of 1.2 × 1 × 1.5 mm; the header has single precision.
    expect(report.millilitres).toBeCloseTo((count * 1.2 * 1 * 1.5) / 1000, 4);
    expect(report.clicks).toEqual([
      { voxel: [...click], label: 1, iouEstimate: report.iouEstimate, voxels: count },
    ]);
    expect(report.iouEstimate).toBeTypeOf('number');
    const [min, max] = [[...dims], [-1, -1, -1]];
    for (let n = 0; n < mask.length; n++) {
      if (mask[n] === 0) continue;
      const voxel = [n % dims[0], Math.floor(n / dims[0]) % dims[1], Math.floor(n / dims[0] / dims[1])];
      for (let axis = 0; axis < 3; axis++) {
        min[axis] = Math.min(min[axis], voxel[axis]);
        max[axis] = Math.max(max[axis], voxel[axis]);
      }
    }
    expect(report.box).toEqual({ min, max });
    expect(report.roi).toMatchObject({ size: 48 });
    expect(report.roi.mean).toBeGreaterThan(0);
    expect(report.roi.std).toBeGreaterThan(0);
  });

  test('the report says what each gate decided and did, how long everything took, and where', () => {
    const { gates, milliseconds, adapter } = plain.report;
    expect(gates.map(({ module, block, channels }) => [module, block, channels])).toEqual([
      ['sgpm.0', 1, 48],
      ['sgpm.1', 3, 48],
    ]);
    for (const gate of gates) {
      expect(gate.values).toHaveLength(48);
      expect(gate.values.filter((value) => value > 0.5)).toHaveLength(gate.openChannels);
      // Formula weights open about half of the channels.
      expect(gate.openChannels).toBeGreaterThan(8);
      expect(gate.openChannels).toBeLessThan(40);
      expect(gate.executedDispatches).toBeGreaterThan(0);
      expect(gate.skippedDispatches).toBe(0);
      expect(gate.dispatches).toHaveLength(gate.executedDispatches);
    }
    const { decode, loadWeights, compile, firstMask, ...stages } = milliseconds;
    expect(loadWeights).toBeGreaterThan(0);
    expect(compile).toBeGreaterThanOrEqual(0);
    expect(loadWeights + compile).toBeLessThanOrEqual(stages.loadModel);
    // Everything up to the first mask, Node's own start included.
    expect(firstMask).toBeGreaterThan(stages.loadModel + stages.encode + decode[0]);
    expect(firstMask).toBeLessThan(plain.result.ms);
    for (const ms of [...Object.values(stages), ...decode]) expect(ms).toBeGreaterThan(0);
    expect(decode).toHaveLength(1);
    expect(Object.values(stages).reduce((a, b) => a + b, decode[0])).toBeLessThan(plain.result.ms);
    expect(plain.report.encoderGflop).toBeGreaterThan(0.01);
    // At least the weights: about 750 thousand of them.
    expect(plain.report.peakGpuBytes).toBeGreaterThan(2 * 2 ** 20);
    expect(plain.report.peakGpuBytes).toBeLessThan(64 * 2 ** 20);
    expect(adapter.description.length).toBeGreaterThan(0);
    if (adapter.kind === 'software') expect(plain.result.stderr).toContain(adapter.description);
    expect(plain.result.stdout).toContain('never trained');
  });
});

test('the mask is the one that the float64 reference computes from the same file', async () => {
  const config = referenceConfigs.tiny;
  const shapes = new Map(modelParameters(configByName('sgp-tiny')).map((spec) => [spec.name, spec.shape]));
  const volume = await readNiftiFile(source);
  const roi = preprocess(volume, click, { size: 48 });
  const stages = samMed3dReference(
    config,
    formulaWeights(shapes, 0),
    fromF32([1, 48, 48, 48], roi.values),
    tensor64([1, 1, 3], roi.clickVoxel),
    tensor64([1, 1], [1]),
    tensor64([1, 24, 24, 24]),
    { sites: [1, 3] },
  );
  const expected = pasteBack(roi, toF32(stage(stages, 'upsampled_logits')), { probabilities: true });
  // Logits of order 1 with a relative error of 1e-5: probabilities agree to well below 1e-4, and the mask wherever
  // the probability is farther than that from ½.
  let worst = 0;
  let wrong = 0;
  const mask = voxelsOf(plain.mask);
  for (let n = 0; n < mask.length; n++) {
    worst = Math.max(worst, Math.abs(plain.prob[n] - expected.probabilities![n]));
    if (mask[n] !== expected.mask[n] && Math.abs(expected.probabilities![n] - 0.5) > 1e-4) wrong++;
  }
  expect(worst).toBeLessThan(1e-4);
  expect(wrong).toBe(0);
  expect(plain.report.iouEstimate).toBeCloseTo(stage(stages, 'iou_pred').data[0], 4);
  plain.report.gates.forEach(({ values }, j) => {
    const logits = stage(stages, `sgpm.${j}.logits`).data;
    values.forEach((value, c) => {
      expect(value).toBeCloseTo(1 / (1 + Math.exp(-logits[c])), 4);
    });
  });
});

test.concurrent('the same command gives the same bytes', { tags: ['long'] }, async () => {
  const again = await segment('again', point);
  for (const file of ['mask.nii.gz', 'p.nii.gz', 'm.png']) {
    expect(same(readFileSync(join(plain.folder, file)), readFileSync(join(again.folder, file))), file).toBe(
      true,
    );
  }
  const { milliseconds: _, ...first } = plain.report;
  const { milliseconds: __, ...second } = again.report;
  expect(second).toEqual(first);
});

test.concurrent('a click in millimetres on channel 1 of a 4-D file, written as .nii: the same mask', {
  tags: ['long'],
}, async () => {
  const other = new Float32Array(phantom.volume.data.length).fill(7);
  const both = put(scratch, 'two.nii', fourDimensional([{ ...phantom.volume, data: other }, phantom.volume]));
  const mm = applyAffine(phantom.volume.affine, click);
  const out = await segment('mm', ['--mm', '-p', pointText(mm), '--channel', '1'], {
    volume: both,
    mask: 'mask.nii',
  });
  expect(readFileSync(join(out.folder, 'mask.nii'))[0], 'not compressed').toBe(348 & 255);
  expect(geometryOf(out.mask)).toEqual(geometryOf(plain.mask));
  expect([out.mask.readInt16LE(40), out.mask.readInt16LE(48)]).toEqual([3, 1]);
  expect(same(voxelsOf(out.mask), voxelsOf(plain.mask))).toBe(true);
  expect(out.report.dims).toEqual([...dims]);
  out.report.clicks[0].voxel.forEach((v, axis) => {
    expect(v).toBeCloseTo(click[axis], 6);
  });
});

test.concurrent('several points with labels: each decodes on top of the ones before it', {
  tags: ['long'],
}, async () => {
  const shifted = (by: number) => pointText([click[0] + by, click[1], click[2] - by]);
  const out = await segment('points', [...point, '-p', `${shifted(6)}:0`, '-p', `${shifted(-3)}:1`]);
  const { clicks, milliseconds, voxels } = out.report;
  expect(clicks.map(({ label }) => label)).toEqual([1, 0, 1]);
  expect(clicks[0]).toEqual(plain.report.clicks[0]);
  expect(new Set(clicks.map((c) => c.voxels)).size, 'every click changes the mask').toBe(3);
  expect(milliseconds.decode).toHaveLength(3);
  expect(clicks[2].voxels).toBe(voxels);
  expect(ones(voxelsOf(out.mask))).toBe(voxels);
  expect(out.report.gates).toEqual(plain.report.gates);
});

test.concurrent.each(['off', 'auto', '2.5'])(
  '--zoom %s: the mask that the library gives for the same click',
  { tags: ['long'] },
  async (zoom) => {
    const out = await segment(`zoom-${zoom}`, [...point, '--zoom', zoom]);
    const segmenter = await segmenterOpener(openDevice)({
      weights: 'formula:sgp-tiny',
      zoom: parseZoom(zoom),
      device: (await testEngine()).device,
    });
    const volume = await segmenter.openVolume(new Uint8Array(readFileSync(source)), { name: 'head.nii.gz' });
    const found = await volume.lesion('a').addPoint({ ijk: click });
    await segmenter.dispose();
    expect(same(voxelsOf(out.mask), found.mask)).toBe(true);
    expect(out.report.zoom).toEqual(JSON.parse(JSON.stringify(found.zoom)));
    expect(out.report.warnings).toEqual(found.warnings);
    expect(out.report.encodes).toBe(found.encodes);
    expect(out.result.stdout).toContain(found.zoom.why.message);
    for (const { code, message } of found.warnings)
      expect(out.result.stderr).toContain(`warning (${code}): ${message}`);
    if (zoom === 'off') expect(same(out.mask, plain.mask)).toBe(true);
  },
);

describe('gates', { tags: ['long'] }, () => {
  const tensors = modelTensors('sgp-tiny');
  const write = (name: string, sites: readonly number[]) => {
    const changes = Object.assign({}, ...sites.map((site) => closedGate(site))) as ReturnType<
      typeof closedGate
    >;
    return put(scratch, name, writeSafetensors(changed(tensors, changes)));
  };

  test('every mode skips a closed gate, with identical masks; from .safetensors and from .pth', async () => {
    const closed = write('closed0.safetensors', [0]);
    const all = changed(tensors, closedGate(0));
    const specs = all.map((t): [string, ReturnType<typeof torchTensor>] => [
      t.name,
      torchTensor({ key: t.name, length: t.data.byteLength / 4, shape: [...t.shape] }),
    ]);
    const storages = Object.fromEntries(all.map((t) => [t.name, t.data]));
    const pth = put(scratch, 'closed0.pth', archive(stateDict(Object.fromEntries(specs)), storages));
    const runs: Outputs[] = [];
    for (const mode of ['predicated', 'indirect', 'readback']) {
      const weights = mode === 'indirect' ? pth : closed;
      const run = await segment(`mode-${mode}`, [...point, '--gate-mode', mode], { weights });
      expect(run.report).toMatchObject({ gateMode: mode, trained: true, config: { name: 'tiny' } });
      const [first, second] = run.report.gates;
      expect(first).toMatchObject({ openChannels: 0, executedDispatches: 0 });
      expect(first.skippedDispatches).toBe(plain.report.gates[0].executedDispatches);
      expect(first.dispatches.every(({ planned, executed }) => planned > 0 && executed === 0)).toBe(true);
      expect(second).toMatchObject({ skippedDispatches: 0 });
      expect(second.openChannels).toBeGreaterThan(0);
      runs.push(run);
    }
    for (const run of runs.slice(1)) {
      expect(same(run.mask, runs[0].mask)).toBe(true);
      expect(same(new Uint8Array(run.prob.buffer), new Uint8Array(runs[0].prob.buffer))).toBe(true);
      expect(run.report.gates).toEqual(runs[0].report.gates);
    }
    expect(same(runs[0].mask, plain.mask), 'closing a gate changes the mask').toBe(false);
  });

  test('all gates closed is SAM-Med3D, which has none', async () => {
    const closed = await segment('closed', point, { weights: write('closed.safetensors', [0, 1]) });
    const sam = await segment('sam', point, { weights: 'formula:tiny' });
    expect(sam.report.gates).toEqual([]);
    expect(sam.report.config).not.toHaveProperty('sgpm');
    expect(sam.result.stdout).not.toContain('sgpm');
    expect(same(sam.mask, closed.mask)).toBe(true);
  });
});

describe('orientation', { tags: ['long'] }, () => {
  test('a file that stores the axes in another order and direction gives the same mask in the world', async () => {
    // 75 × 75 × 72 mm, whole numbers of 1.5 mm and of the header's single precision: the resampled grid is then
    // the same from either end, so that flips too must give the same region of interest, up to the rounding of
    // coordinates. No voxel's centre falls on a face of the cube, where rounding would decide what is inside.
    const [ni, nj, nk] = [60, 60, 48];
    const made = volumeOf(
      [ni, nj, nk],
      [1.25, 0, 0, -31, 0, 1.25, 0, -40, 0, 0, 1.5, -20],
      Float32Array.from({ length: ni * nj * nk }, (_, n) => {
        const [i, j, k] = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / ni / nj)];
        const r = Math.hypot((i - 28) / 26, (j - 31) / 27, (k - 24) / 21);
        return r > 1 ? 0 : Math.round(400 + 150 * Math.sin(0.4 * i) * Math.cos(0.3 * j + 0.2 * k) + 80 * r);
      }),
      'int16',
    );
    // Stored as S, then L, then A: k' = j, j' = flipped i, i' = k.
    const stored = new Float32Array(made.data.length);
    for (let n = 0; n < made.data.length; n++) {
      const [i, j, k] = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / ni / nj)];
      stored[k + nk * (ni - 1 - i + ni * j)] = made.data[n];
    }
    const turned = volumeOf(
      [nk, ni, nj],
      [0, -1.25, 0, -31 + 1.25 * (ni - 1), 0, 0, 1.25, -40, 1.5, 0, 0, -20],
      stored,
      'int16',
    );
    const at: [number, number, number] = [2.1, -1.7, 13.9];
    const runs = [];
    for (const [name, volume] of Object.entries({ made, turned })) {
      const file = put(scratch, `${name}.nii`, writeVolume(volume, `${name}.nii`));
      runs.push(await segment(`turn-${name}`, ['--mm', '-p', pointText(at)], { volume: file }));
    }
    const [a, b] = runs.map(({ mask }) => voxelsOf(mask));
    let different = 0;
    for (let n = 0; n < a.length; n++) {
      const [i, j, k] = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / ni / nj)];
      if (a[n] !== b[k + nk * (ni - 1 - i + ni * j)]) different++;
    }
    expect(ones(a)).toBeGreaterThan(100);
    // The regions agree to the last bits; a voxel whose logit is as small as those may turn.
    expect(different).toBeLessThanOrEqual(2);
  });
});
