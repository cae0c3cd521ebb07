/** `sgp-sam segment`: a volume and clicks in, a mask on the volume's grid out. */

import type { Command } from 'commander';
import { type Progress, SgpSamError } from '../base/errors.js';
import { sigmoid } from '../base/sigmoid.js';
import { adapterLine } from '../engine/gpu/device.js';
import { parsePoint, requireInside, worldToVoxel } from '../imaging/clicks.js';
import { isDicomName } from '../imaging/formats/dicom-seg.js';
import { readVolumeFile } from '../imaging/formats/files.node.js';
import { montagePng } from '../imaging/montage.js';
import { writeFloat } from '../imaging/nifti-write.js';
import type { Volume } from '../imaging/types.js';
import { formulaWeights } from '../sam/formula-weights.js';
import { type Click, requireLesion, type Segmentation } from '../session/lesion-state.js';
import { LocalSegmenter, type SegmenterHost } from '../session/local-segmenter.js';
import { isFormula } from '../weights/open.js';
import {
  channelNumber,
  defaultAdapter,
  deviceTable,
  openEngine,
  presetOption,
  SUBMIT_BUDGET_MS,
  seriesOption,
  storageTable,
  timed,
  variantsOf,
  zoomOption,
} from './common.js';
import { asIs, declare, flag, many, option, required, type Values, valuesOf } from './options.js';
import { checkOutputs, outputsOf, writeOutput } from './outputs.js';
import { ProgressBars } from './progress.js';
import { checkMaskOptions, dicomSegWriter, initialMask, maskInputs, maskTable } from './segment-masks.js';
import { deltaOption, openChosenWeights, SHIPPED, weightFiles, weightsName, weightsOf } from './weights.js';

const segmentTable = {
  point: many(
    '-p, <i,j,k[:label]>',
    'a click in voxels from 0; label 1 lesion (default), 0 not. Repeatable; the first places the region of interest',
    (_, text) => parsePoint(text),
  ),
  mm: flag('points are world coordinates in millimetres (RAS+)'),
  zoom: zoomOption,
  channel: option('<n>', 'which channel of a 4-D volume, from 0', channelNumber),
  series: seriesOption,
  preset: presetOption,
  weights: option(
    '<file>',
    `a .pth or .safetensors checkpoint, or formula:CONFIG[:seed] (untrained); default: the shipped ${SHIPPED}`,
    asIs,
  ),
  deltaWeights: deltaOption,
  output: required(
    '-o, <mask.nii.gz>',
    'where the mask goes; a name in .dcm makes it a DICOM segmentation of the scan’s series, one in .seg.nrrd one of 3D Slicer',
    asIs,
  ),
  prob: option('<p.nii.gz>', 'also write probabilities (float32)', asIs),
  report: option(
    '<r.json>',
    'also write a report: volumes, IoU estimate, gates, dispatches, times, memory',
    asIs,
  ),
  png: option('<montage.png>', 'also write a picture of three slices through the first click', asIs),
  ...maskTable,
  ...storageTable,
  ...deviceTable,
};
type SegmentOptions = Values<typeof segmentTable>;

/** What can be found wrong in the arguments alone, before any work is done. */
function checkArguments(volumes: readonly string[], options: SegmentOptions): void {
  if (options.point.length === 0) {
    throw new SgpSamError(
      'bad-argument',
      'no --point was given',
      'Click in the lesion: --point i,j,k (voxels) or with --mm in millimetres.',
    );
  }
  if (isFormula(options.weights)) formulaWeights(options.weights);
  const endings: Readonly<Record<string, readonly [RegExp, string]>> = {
    '--output': [/\.(nii(\.gz)?|dcm|seg\.nrrd)$/, '.nii, .nii.gz, .seg.nrrd or .dcm'],
    '--prob': [/\.nii(\.gz)?$/, '.nii or .nii.gz'],
    '--report': [/\.json$/, '.json'],
    '--png': [/\.png$/, '.png'],
  };
  checkMaskOptions(options);
  const { output, prob, report, png } = options;
  const outputs = outputsOf({ '--output': output, '--prob': prob, '--report': report, '--png': png });
  for (const { option, path } of outputs) {
    const [ending, name] = endings[option];
    if (!ending.test(path))
      throw new SgpSamError('bad-argument', `${option} ${path}: the name must end in ${name}`);
  }
  checkOutputs(outputs, [...volumes, ...maskInputs(options), ...weightFiles(options)]);
}

function clicksOf(volume: Volume, options: SegmentOptions): Click[] {
  const clicks = options.point.map(({ at, label }) => {
    return { at: requireInside(volume, options.mm ? worldToVoxel(volume, at) : at), label };
  });
  // With a mask to begin with, the first click may as well say where the lesion is not.
  if (options.mask === undefined) requireLesion(clicks[0]);
  return clicks;
}

/** What the JSON report says; units are in the names. */
function reportOf(
  volume: Volume,
  clicks: readonly Click[],
  results: readonly Segmentation[],
  { info, internals: { model, engine } }: LocalSegmenter,
  times: { readVolumeMs: number; loadModelMs: number; firstMaskMs: number },
  options: SegmentOptions,
) {
  const last = results[results.length - 1];
  const sum = (of: (s: Segmentation) => number) => results.reduce((total, s) => total + of(s), 0);
  const { config, estimatesIou, trained, loadTimes, adapter } = info;
  return {
    volume: volume.name,
    dims: volume.dims,
    preset: last.roi.preset.name,
    weights: weightsName(options),
    trained,
    config,
    clicks: clicks.map(({ at, label }, i) => ({
      voxel: at,
      label,
      iouEstimate: estimatesIou ? results[i].iou : null,
      voxels: results[i].voxels,
    })),
    voxels: last.voxels,
    millilitres: last.millilitres,
    /** Null where the head that makes it was never trained. */
    iouEstimate: estimatesIou ? last.iou : null,
    box: last.box ?? null,
    roi: {
      begin: last.roi.begin,
      size: last.roi.size,
      affine: [...last.roi.affine],
      mean: last.roi.mean,
      std: last.roi.std,
    },
    gates: last.gates.map((gate) => ({
      module: gate.name,
      block: gate.block,
      /** What its gates are for: channel, branch or module. */
      kind: gate.kind,
      openChannels: gate.openChannels[0],
      channels: gate.channels,
      /** σ(z) per gate, which is open above ½. */
      values: Array.from(gate.logits, sigmoid),
      executedDispatches: gate.executed,
      skippedDispatches: gate.skipped,
      dispatches: gate.dispatches,
    })),
    milliseconds: {
      readVolume: times.readVolumeMs,
      loadModel: times.loadModelMs,
      /** Of that: until the weights were there, and what compiling took longer. */
      loadWeights: loadTimes.weights,
      compile: loadTimes.compile,
      preprocess: sum((s) => s.timings.preprocess),
      encode: sum((s) => s.timings.encode),
      decode: results.map((s) => s.timings.decode),
      pasteBack: sum((s) => s.timings.pasteBack),
      /** From the process's start to the first click's mask on the volume's grid. */
      firstMask: times.firstMaskMs,
    },
    /** What is doubtful about the last mask. */
    warnings: last.warnings,
    /** Scales tried after the last click, the one taken, and why; then how many cubes were encoded for all clicks. */
    zoom: last.zoom,
    encodes: sum((s) => s.encodes),
    weightStorage: model.parameters.storage,
    weightBytes: model.parameters.bytes,
    encoderGflop: model.encoderFlops / 1e9,
    peakGpuBytes: engine.memory.peakBytes,
    gateMode: options.gateMode,
    adapter,
  };
}

function summary(report: ReturnType<typeof reportOf>, adapter: string): string {
  const lines = [
    `mask: ${report.voxels} voxels, ${report.millilitres.toFixed(3)} mL, ` +
      (report.iouEstimate === null
        ? 'no IoU estimate (these weights were trained without it)'
        : `estimated IoU ${report.iouEstimate.toFixed(3)}`),
    ...report.gates.map(
      (gate) =>
        `${gate.module}: ${gate.openChannels} of ${gate.channels} gates (${gate.kind}) open, ` +
        `${gate.executedDispatches} dispatches with work, ${gate.skippedDispatches} without`,
    ),
    `scale ${+report.zoom.spacing.toPrecision(3)} mm: ${report.zoom.why.message}`,
    `encode ${(report.milliseconds.encode / 1000).toFixed(2)} s, decode ${report.milliseconds.decode.map((ms) => (ms / 1000).toFixed(2)).join(' + ')} s, peak ${(report.peakGpuBytes / 2 ** 20).toFixed(0)} MiB on ${adapter}`,
  ];
  if (!report.trained)
    lines.push(
      'formula weights were never trained: this mask shows that the engine runs, not where a lesion is',
    );
  return `${lines.join('\n')}\n`;
}

/** `--adapter` names a GPU adapter; a weights file given there can only mean what was called an adapter of weights. */
function sortAdapters(options: SegmentOptions): SegmentOptions {
  if (!options.adapter.endsWith('.safetensors')) return options;
  return { ...options, deltaWeights: options.deltaWeights ?? options.adapter, adapter: defaultAdapter() };
}

/** A segmenter by the command's options, and how long loading the model took once the device was there. */
async function openSegmenter(options: SegmentOptions, progress: Progress) {
  let deviceMs = 0;
  const host: SegmenterHost = {
    openWeights: () => openChosenWeights(options),
    openEngine: async () => {
      const { result, ms } = await timed(() => openEngine(options));
      deviceMs = ms;
      return result;
    },
  };
  const { result: segmenter, ms } = await timed(() =>
    LocalSegmenter.open(host, {
      weights: weightsOf(options),
      preset: options.preset,
      zoom: options.zoom,
      gateMode: options.gateMode,
      variants: variantsOf(options),
      weightStorage: options.weightStorage,
      budgetMs: SUBMIT_BUDGET_MS,
      progress,
    }),
  );
  return { segmenter, loadModelMs: ms - deviceMs };
}

async function segment(paths: readonly string[], given: SegmentOptions): Promise<void> {
  const options = sortAdapters(given);
  checkArguments(paths, options);
  const { channel, series } = options;
  const bars = new ProgressBars(options.quiet);
  let opened: LocalSegmenter | undefined;
  try {
    const { result: volume, ms: readVolumeMs } = await timed(() =>
      readVolumeFile(paths, { channel, series, progress: bars.report }),
    );
    const clicks = clicksOf(volume, options);
    const tell = (note: string) => process.stderr.write(`${note}\n`);
    for (const note of volume.notes ?? []) tell(note);
    const dicomSeg = isDicomName(options.output) ? await dicomSegWriter(volume, options, tell) : undefined;
    const begun = await initialMask(volume, options, tell);
    const { segmenter, loadModelMs } = await openSegmenter(options, bars.report);
    opened = segmenter;
    const scan = await segmenter.openVolume(volume);
    const lesion = scan.lesion('lesion');
    if (begun) await lesion.setMask(begun.mask);
    const results: Segmentation[] = [];
    let firstMaskMs = 0;
    for (const [i, { at, label }] of clicks.entries()) {
      const probabilities = options.prob !== undefined && i === clicks.length - 1;
      results.push(await lesion.addPoint({ ijk: at, label }, { probabilities, progress: bars.report }));
      // `performance.now()` counts from the process's start.
      if (i === 0) firstMaskMs = performance.now();
    }
    bars.finish();
    const last = results[results.length - 1];
    const times = { readVolumeMs, loadModelMs, firstMaskMs };
    const report = reportOf(volume, clicks, results, segmenter, times, options);

    // Everything is computed; only now is anything written.
    const { segmentName } = options;
    const saveOptions = segmentName ? { segments: { [lesion.name]: { name: segmentName } } } : {};
    const saved = dicomSeg
      ? await dicomSeg(last.crop)
      : await scan.save([lesion.name], options.output, saveOptions);
    const files: [string, Uint8Array][] = [[options.output, saved]];
    if (options.prob && last.probabilities) {
      files.push([options.prob, writeFloat(volume, last.probabilities, options.prob)]);
    }
    if (options.png) {
      const overlays = [{ mask: last.mask, colour: [230, 70, 60] as const, fill: 0.35 }];
      files.push([options.png, montagePng(volume, { click: clicks[0].at, overlays })]);
    }
    if (options.report) {
      files.push([options.report, new TextEncoder().encode(`${JSON.stringify(report, null, 2)}\n`)]);
    }
    for (const [name, bytes] of files) await writeOutput(name, bytes);
    for (const { code, message } of last.warnings) process.stderr.write(`warning (${code}): ${message}\n`);
    process.stdout.write(summary(report, adapterLine(report.adapter)));
    process.stdout.write(files.map(([name]) => `wrote ${name}\n`).join(''));
  } finally {
    bars.finish();
    await opened?.dispose();
  }
}

export function addSegment(program: Command): void {
  const command = program
    .command('segment')
    .description('segment the lesion under a click in a scan, on the scan’s own grid')
    .argument('<scan...>', 'a NIfTI, NRRD or MetaImage file; DICOM: a folder, files, or a zip archive');
  declare(command, segmentTable).action((paths, parsed) => segment(paths, valuesOf(segmentTable, parsed)));
}
