/**
 * The engine as a host embeds it: weights in, volumes in, clicks in, masks on the host's grid out. This is the contract;
 * `local-segmenter.ts` computes on the calling thread, `worker-client.ts` in a worker.
 */
import type { Progress, SgpSamError } from '../base/errors.js';
import type { AdapterChoice, AdapterReport, Tier } from '../engine/gpu/device.js';
import type { GateSetting, RegionMode } from '../engine/graph/regions.js';
import type { WeightStorage } from '../engine/kernels/rules.js';
import type { CroppedMask } from '../imaging/crop.js';
import type { SegmentToWrite } from '../imaging/dicom-seg/codes.js';
import type { DicomSegOptions } from '../imaging/dicom-seg/write.js';
import type { SeriesInfo } from '../imaging/formats/format.js';
import type { MaskFile } from '../imaging/formats/masks.js';
import type { HostImage } from '../imaging/host-image.js';
import type { Preset, PresetName } from '../imaging/presets.js';
import type { DatatypeName, DicomSeries, Vec3, Volume } from '../imaging/types.js';
import type { ModelConfig } from '../sam/config.js';
import type { WeightsScope } from '../weights/card.js';
import type { OpenAnyOptions } from '../weights/open.js';
import type { CallOptions } from './lesion-session.js';
import type { Action, LesionState, Segmentation } from './lesion-state.js';
import type { Zoom } from './zoom.js';

export type { SeriesInfo } from '../imaging/formats/format.js';
export type { HostImage } from '../imaging/host-image.js';
export type { WeightsInput } from '../weights/open.js';

/** Of opening. The weights are safetensors or PyTorch (`.pth`) checkpoints; later calls have signals and progress of their own. */
export interface SegmenterOptions extends OpenAnyOptions {
  /** Which GPU adapter; `auto` unless given. */
  readonly adapter?: AdapterChoice | undefined;
  /**
   * `f16` halves the weights' GPU memory and rounds them to 11 bits; `texture` is f32 in textures, with the same results.
   * Unless given, `texture` on CPU adapters with subgroups of 8 and more, else `f32`.
   */
  readonly weightStorage?: WeightStorage | undefined;
  /** How closed gates are skipped; `predicated` unless given. */
  readonly gateMode?: RegionMode | undefined;
  /** Overrules gates, one setting per SGPM; all `auto` unless given. */
  readonly gates?: readonly GateSetting[] | undefined;
  /** The GPU gets work in pieces of about this many milliseconds, so that what draws the page comes between; default 12. */
  readonly budgetMs?: number | undefined;
  /** How volumes are prepared; unless given as the weights' card says, else `sam-med3d`. */
  readonly preset?: PresetName | Preset | undefined;
  /** At which scale lesions are seen: `auto`, `off` or mm; as the weights' card says unless given. */
  readonly zoom?: Zoom | undefined;
  /** Told of `download`, `weights` and `compile`. */
  readonly progress?: Progress | undefined;
  /** Stops the opening; later calls have their own. */
  readonly signal?: AbortSignal | undefined;
}

/** What a segmenter runs and on what. */
export interface SegmenterInfo {
  /** What they are called: their file's name. */
  readonly weights: string;
  /** Whether the weights were trained at all, and whether the head that estimates a mask's IoU was. */
  readonly trained: boolean;
  readonly estimatesIou: boolean;
  /** The scale that is used, and what the weights say they are for. */
  readonly zoom: Zoom;
  readonly scope: WeightsScope | undefined;
  readonly config: ModelConfig;
  /** The encoder block that each SGPM follows. */
  readonly sites: readonly number[];
  readonly adapter: AdapterReport;
  readonly tier: Tier;
  /** Milliseconds until weights were on the device, and until the encoder was compiled after that. */
  readonly loadTimes: { readonly weights: number; readonly compile: number };
}

/** A file of several, with its name: a `File` may lose it on the way into a worker. */
export interface VolumeFile {
  readonly name: string;
  readonly data: Blob | ArrayBuffer | Uint8Array;
}

/**
 * A volume: a file (NIfTI, NRRD, MetaImage, DICOM, or a zip archive), several (a DICOM series, a header with its data), what
 * was read from one (`readNifti`), an image as a viewer or toolkit holds it (`HostImage`), or voxels (i fastest) with their place in
 * the world (`spacing` alone: a grid along the axes).
 */
export type VolumeInput =
  | Blob
  | readonly (File | VolumeFile)[]
  | ArrayBuffer
  | Uint8Array
  | Volume
  | HostImage
  | {
      /** A Float32Array is used as it is, not copied (a worker has its own copy). */
      readonly data: ArrayLike<number>;
      readonly dims: Vec3;
      /** Edges of a voxel, mm. */
      readonly spacing?: Vec3 | undefined;
      /** Voxel → world (RAS+, mm), 4×4 row-major; takes precedence. */
      readonly affine?: ArrayLike<number> | undefined;
    };

/** Of a volume's inputs, those that are files. */
export type FilesInput = Blob | ArrayBuffer | Uint8Array | readonly (File | VolumeFile)[];

/** How a volume is read. */
export interface OpenVolumeOptions extends Pick<CallOptions, 'progress' | 'signal'> {
  /** What errors and outputs call it; a File's or Volume's own name otherwise. */
  readonly name?: string | undefined;
  /** Which image of a 4-D file, from 0; required when there are several. */
  readonly channel?: number | undefined;
  /**
   * Which DICOM series, if there are several: its number in the list (from 1), its SeriesInstanceUID, or a part of its
   * description; `listSeries` gives the list.
   */
  readonly series?: string | number | undefined;
}

/** What an open volume is: sizes in voxels (i, j, k), edges of a voxel in mm, and its place in the world. */
export interface VolumeInfo {
  readonly name: string;
  readonly dims: Vec3;
  readonly spacing: Vec3;
  /** Voxel → world, 4×4 row-major. */
  readonly affine: readonly number[];
  readonly channels: number;
  readonly channel: number;
  readonly datatype: DatatypeName;
  /** What reading it decided and people should know, a sentence each: units of PET, localisers left out. */
  readonly notes?: readonly string[] | undefined;
  /** The DICOM series that it is, if it is one; then it can be saved as a DICOM segmentation. */
  readonly series?: Omit<DicomSeries, 'slices'> | undefined;
}

/** A place in a volume: voxels of its file (from 0, fractions allowed) or world millimetres (RAS+). */
export type Place = { readonly ijk: Vec3 } | { readonly mm: Vec3 };

/** A click; label 1 (lesion) unless given. */
export type PointPrompt = Place & { readonly label?: 0 | 1 | undefined };

/** Two opposite corners, in any order. */
export type BoxPrompt = { readonly ijk: readonly [Vec3, Vec3] } | { readonly mm: readonly [Vec3, Vec3] };

/**
 * One lesion of a volume. Calls are taken in turn; one that fails or is stopped leaves the lesion as it was. Results are for
 * reading: outside a worker they share memory with what undo goes back to.
 */
export interface Lesion {
  readonly name: string;
  /**
   * Segments with one more click; the first decides where the model looks, later ones refine.
   * @throws SgpSamError `bad-prompt` for a click outside the volume; `aborted`; `device-lost`
   */
  addPoint(point: PointPrompt, options?: CallOptions): Promise<Segmentation>;
  /** A box as a click at its centre and a cube that holds it. */
  addBox(box: BoxPrompt, options?: CallOptions): Promise<Segmentation>;
  /** A mask from elsewhere, a value per voxel, above 0 inside; the next click refines it. */
  setMask(mask: Uint8Array | CroppedMask): Promise<LesionState>;
  /** Takes back the last step; nothing is computed. */
  undo(): Promise<LesionState>;
  /** Does again what was undone last; nothing is computed. */
  redo(): Promise<LesionState>;
  /** Forgets all steps. */
  reset(): Promise<LesionState>;
  /** The lesion as it is, after what is under way. */
  state(): Promise<LesionState>;
  /** What the same steps give with other gates; the lesion stays as it is. */
  preview(gates: readonly GateSetting[], options?: CallOptions): Promise<LesionState>;
  /** Does all steps again, with the gates that are set now. */
  recompute(options?: CallOptions): Promise<LesionState>;
  /** What was done so far, as data; `apply` does it again, here or in another session. */
  actions(): Promise<readonly Action[]>;
  /**
   * Does an action of `actions` again, as a step of this lesion.
   * @throws SgpSamError `bad-prompt` for one that does not fit this volume; `aborted`; `device-lost`
   */
  apply(action: Action, options?: CallOptions): Promise<LesionState>;
}

/** What a DICOM segmentation says of its lesions; other formats take what they can hold: .seg.nrrd names and colours. */
export interface SaveOptions extends DicomSegOptions {
  /** By lesion: the segment's own name, its colour (0…255) and codes. */
  readonly segments?: Readonly<Record<string, Partial<Omit<SegmentToWrite, 'mask'>>>> | undefined;
}

/** A volume that is open, and its lesions by name. */
export interface SegmenterVolume {
  /** What was read: the volume's sizes and its place in the world. */
  readonly info: VolumeInfo;
  /** The lesion of this name; one that is not there yet is empty. */
  lesion(name: string): Lesion;
  /** Forgets a lesion; calls on it are errors from then on. */
  remove(name: string): Promise<void>;
  /** The image that is segmented, as NIfTI, on the grid that masks are on: for a viewer. */
  image(): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Lesions as NIfTI with the volume's header: voxels of the n-th name are n, in this order; later ones lie on top. Or, of a
   * volume that is a DICOM series, as a DICOM segmentation; or as one of 3D Slicer: a segment each, which may overlap.
   * @param fileName ends in .nii, .nii.gz, .dcm or .seg.nrrd
   * @throws SgpSamError as `writeDicomSeg` for .dcm
   */
  save(names: readonly string[], fileName?: string, options?: SaveOptions): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * A table of the labels that `save` gives these lesions in a NIfTI file, to lie beside it: index, name, colour, voxels and
   * millilitres, separated by tabs, as BIDS has such tables (`_dseg.tsv`).
   */
  labels(names: readonly string[], options?: SaveOptions): Promise<string>;
  /**
   * The masks of a file, on this volume's grid, for `setMask` of its lesions: segments of a DICOM segmentation or
   * a .seg.nrrd, labels of a volume.
   * @throws SgpSamError `bad-file`, `unsupported`; `bad-prompt` for masks that do not belong to this volume
   */
  masks(file: Blob | ArrayBuffer | Uint8Array, name?: string): Promise<MaskFile>;
  /** Forgets the volume and its lesions; calls on them are errors from then on. */
  dispose(): Promise<void>;
}

/** GPU memory of a segmenter: weights, activations of the programs, and what volumes keep there. */
export interface MemoryUse {
  /** GPU memory that is allocated now, and was at most. */
  readonly bytes: number;
  readonly peakBytes: number;
  /** Buffers that are allocated now. */
  readonly buffers: number;
}

/** A model on a device, and volumes to click in. */
export interface Segmenter {
  /** What runs and on what; after `recover`, what runs then. */
  readonly info: SegmenterInfo;
  /**
   * Resolves when the device that is in use goes away (or the worker fails: `worker-failed`, which nothing survives); after a
   * successful `recover` there is a new promise.
   */
  readonly lost: Promise<SgpSamError>;
  /**
   * Reads a volume and keeps it, for lesions to be clicked in.
   * @throws SgpSamError `bad-file`, `unsupported`, or `bad-argument` for a wrong or missing channel
   */
  openVolume(volume: VolumeInput, options?: OpenVolumeOptions): Promise<SegmenterVolume>;
  /**
   * The DICOM series that files hold, to choose one of (`OpenVolumeOptions.series`); none for files of other formats. Only
   * headers are read.
   * @throws SgpSamError `bad-file`, `unsupported` for files that hold no image
   */
  listSeries(files: FilesInput, options?: OpenVolumeOptions): Promise<readonly SeriesInfo[]>;
  /** Overrules gates from the next click on, one setting per SGPM. */
  setGates(gates: readonly GateSetting[]): Promise<void>;
  /** GPU memory of the engine. */
  memory(): Promise<MemoryUse>;
  /**
   * After a loss: opens a device, loads the weights again, and keeps volumes, lesions and their steps. Without one it does
   * nothing.
   * @throws SgpSamError `no-adapter` when there is none any more
   */
  recover(options?: Pick<SegmenterOptions, 'progress' | 'signal'>): Promise<void>;
  /** Destroys the device under the engine's feet, as a driver may: for testing how a host recovers. */
  loseDevice(): Promise<void>;
  /** Stops what is under way and frees everything. Later calls are errors. */
  dispose(): Promise<void>;
}

/** How a method's calls cross to a worker; nothing for arguments and a result that are copied. */
export interface MethodRow {
  /** Which argument is options with a signal and progress. */
  readonly options?: number | undefined;
  /**
   * What comes back if not plain data: a `file`, whose bytes are handed over; a lesion's `state`, whose mask each side makes for
   * itself; a `volume`, of which the page gets a handle.
   */
  readonly result?: 'file' | 'state' | 'volume' | undefined;
}

type OptionsOf<A extends readonly unknown[]> = A extends readonly [...infer Before, infer Last]
  ? 'signal' extends keyof Last
    ? { readonly options: Before['length'] }
    : { readonly options?: undefined }
  : { readonly options?: undefined };
type ResultOf<R> = R extends LesionState
  ? { readonly result: 'state' }
  : R extends SegmenterVolume
    ? { readonly result: 'volume' }
    : R extends Uint8Array
      ? { readonly result: 'file' }
      : { readonly result?: undefined };
type Row<F> = F extends (...args: infer A) => Promise<infer R> ? OptionsOf<Required<A>> & ResultOf<R> : never;

/** A row for every asynchronous method of an interface; what a row says follows from the signature, or does not compile. */
export type MethodTable<T> = {
  readonly [K in keyof T as T[K] extends (...args: never[]) => Promise<unknown> ? K : never]: Row<T[K]>;
};

/** An object's asynchronous methods. */
export type Methods<T> = Pick<T, keyof T & keyof MethodTable<T>>;

/*
 * All that a page may ask of a worker: its proxies (`handles.ts`) and the worker's dispatcher are made of these tables. A new
 * method is its signature above, its row here, and what does it in `local-segmenter.ts` or `local-volume.ts`.
 */
const file = { result: 'file' } as const;
const state = { result: 'state' } as const;

/** A segmenter’s methods, and how the calls of each cross to a worker. */
export const segmenterMethods: MethodTable<Segmenter> = {
  openVolume: { options: 1, result: 'volume' },
  listSeries: { options: 1 },
  setGates: {},
  memory: {},
  recover: { options: 0 },
  loseDevice: {},
  dispose: {},
};

/** A volume’s. */
export const volumeMethods: MethodTable<SegmenterVolume> = {
  remove: {},
  image: file,
  save: file,
  labels: {},
  masks: {},
  dispose: {},
};

/** A lesion’s methods, and how the calls of each cross to a worker. */
export const lesionMethods: MethodTable<Lesion> = {
  addPoint: { options: 1, ...state },
  addBox: { options: 1, ...state },
  setMask: state,
  undo: state,
  redo: state,
  reset: state,
  state,
  preview: { options: 1, ...state },
  recompute: { options: 0, ...state },
  actions: {},
  apply: { options: 1, ...state },
};
