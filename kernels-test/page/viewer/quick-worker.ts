/**
 * A worker for tests of the page itself: everything is the engine's but the model, in whose place a click is a ball. It needs no GPU
 * and answers at once, with progress.
 */
import { SgpSamError } from '../../../src/base/errors.js';
import type { Engine } from '../../../src/engine/gpu/engine.js';
import { voxelSizes } from '../../../src/imaging/affine.js';
import { boxSizes, type CroppedMask } from '../../../src/imaging/crop.js';
import { listSeries } from '../../../src/imaging/formats/open.js';
import { mergeMasks, subtractMask, sweep } from '../../../src/imaging/paint.js';
import type { Volume } from '../../../src/imaging/types.js';
import type { Model } from '../../../src/sam/model.js';
import { middle } from '../../../src/session/cubes.js';
import { openVolumeInput, sourcesOf } from '../../../src/session/inputs.js';
import { type CallOptions, LesionSession } from '../../../src/session/lesion-session.js';
import {
  type Action,
  type LesionState,
  requireLesion,
  type Segmentation,
} from '../../../src/session/lesion-state.js';
import type { LocalSegmenter } from '../../../src/session/local-segmenter.js';
import { LocalVolume } from '../../../src/session/local-volume.js';
import type {
  FilesInput,
  OpenVolumeOptions,
  VolumeInfo,
  VolumeInput,
} from '../../../src/session/segmenter.js';
import type { Port } from '../../../src/session/worker-protocol.js';
import { serveSegmenter } from '../../../src/session/worker-server.js';
import { forDisplay } from '../../../src/viewer/for-display.js';
import { measure } from '../../../src/viewer/measure.js';

/** Radii of what a click adds and takes away, mm. */
const ADDS = 8;
const TAKES = 5;
/** Pieces of a step, and how long each takes. */
const PIECES = 4;
const MS = 15;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a session keeps to itself, and this takes: its history, as it writes it. */
interface Inner {
  stateNow(): LesionState;
  record(action: Action, made: object): Segmentation;
}

function sessionOf(volume: Volume): LesionSession {
  const model = {
    decode() {},
    card: { preset: undefined, zoom: 'auto' },
    gates: ['auto', 'auto'],
    setGate() {},
  };
  const session = new LesionSession(model as unknown as Model, volume);
  const inner = session as unknown as Inner;
  const addNow = async (
    action: Exclude<Action, { type: 'mask' }>,
    { progress, signal }: CallOptions,
  ): Promise<Segmentation> => {
    for (let piece = 1; piece <= PIECES; piece++) {
      await pause(MS);
      if (signal?.aborted) throw new SgpSamError('aborted', 'stopped on request');
      progress?.({ stage: 'encode', done: piece, total: PIECES });
    }
    const { crop: found, clicks: earlier } = inner.stateNow();
    const click = action.type === 'click' ? action.click : { at: middle(action.box), label: 1 as const };
    if (earlier.length === 0 && !found.box) requireLesion(click);
    const radius =
      action.type === 'box' ? Math.max(...boxSizes(action.box)) / 2 : click.label === 1 ? ADDS : TAKES;
    const ball: CroppedMask = sweep(volume, [click.at], radius);
    const crop = click.label === 1 ? mergeMasks(found, ball) : subtractMask(found, ball);
    return inner.record(action, {
      crop,
      clicks: [...earlier, click],
      iou: 0.8,
      gates: [],
      warnings: click.label === 0 ? [{ code: 'no-contrast', message: 'Its border is a guess.' }] : [],
      zoom: {
        setting: 'auto',
        spacing: 1.5,
        tried: [],
        why: { code: 'fits', message: 'it fits' },
      },
      timings: { preprocess: 1, encode: 2, decode: 3, pasteBack: 4 },
      encodes: 1,
    });
  };
  Object.assign(session, { addNow, preview: async () => inner.stateNow() });
  return session;
}

class Quick {
  private readonly volumes = new Set<LocalVolume>();
  readonly lost = new Promise<SgpSamError>(() => {});
  readonly modules = 2;
  readonly info = {
    weights: 'quick.safetensors',
    trained: true,
    estimatesIou: true,
    zoom: 'auto',
    scope: { modalities: ['MR'], organs: ['brain'], millilitres: [0.1, 40] },
    config: {},
    sites: [3, 7],
    adapter: {
      kind: 'cpu',
      source: 'browser',
      vendor: 'none',
      architecture: '',
      device: '',
      description: 'no device',
      isFallback: true,
    },
    tier: 'default',
    loadTimes: { weights: 0, compile: 0 },
  };

  session = sessionOf;

  inTurn<R>(work: (signal: AbortSignal) => Promise<R>, signal = new AbortController().signal): Promise<R> {
    return work(signal);
  }

  opened(name: string, channel: number): Volume | undefined {
    return [...this.volumes].findLast(({ info }) => info.name === name && info.channel === channel)?.volume;
  }

  forget(volume: LocalVolume): void {
    this.volumes.delete(volume);
  }

  async openVolume(input: VolumeInput, options: OpenVolumeOptions) {
    const volume = await openVolumeInput(input, options);
    const { name, dims, affine, dicom, notes, channels = 1, channel = 0, datatype = 'float32' } = volume;
    const series = dicom && {
      seriesInstanceUid: dicom.seriesInstanceUid,
      modality: dicom.modality,
      description: dicom.description,
    };
    const info: VolumeInfo = {
      name,
      dims,
      spacing: voxelSizes(affine),
      affine: [...affine],
      channels,
      channel,
      datatype,
      ...(notes ? { notes } : {}),
      ...(series ? { series } : {}),
    };
    const opened = new LocalVolume(info, volume, this);
    this.volumes.add(opened);
    return opened.handle;
  }

  listSeries(files: FilesInput, options: OpenVolumeOptions) {
    return listSeries(sourcesOf(files, options.name), options);
  }

  async setGates() {}
  async memory() {
    return { bytes: 0, peakBytes: 0, buffers: 0 };
  }
  async recover() {}
  async loseDevice() {}
  async dispose() {}
  get internals(): { engine: Engine } {
    throw new Error('there is no engine');
  }
}

serveSegmenter(globalThis as unknown as Port, async () => new Quick() as unknown as LocalSegmenter, {
  extras: {
    measure: (segmenter, [name, channel, crop]) =>
      measure(segmenter.opened(String(name), Number(channel)) as Volume, crop as CroppedMask),
    display: (segmenter, [name, channel, limit]) =>
      forDisplay(segmenter.opened(String(name), Number(channel)) as Volume, Number(limit)),
  },
});
