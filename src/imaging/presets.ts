import { needFields } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';

/** How a volume becomes an encoder's input. Data only: a preset of your own is an object like these. */
export interface Preset {
  readonly name: string;
  /** Edge of the resampled voxels, mm. */
  readonly spacing: number;
  /** Resampled values are limited to this range (before the z-score), in the volume's units; null: not. */
  readonly clamp: readonly [number, number] | null;
  /** `ras`: the axes permuted and flipped to the nearest R, A, S; `storage`: as the file has them. */
  readonly orientation: 'ras' | 'storage';
  /**
   * CT (`isHounsfield`) is limited to this range, in HU, and moved so that its lower end is 0: then air is 0 and the body above it, as in
   * MR, and the z-score is the body's. Not given: as `clamp` says.
   */
  readonly ct?: readonly [number, number] | undefined;
  /** `click`: after the z-score, values are taken relative to the click's (`relativeToClick`). Not given: they are not. */
  readonly reference?: 'click' | undefined;
}

/** The presets that have names. */
export const presets = {
  /** SAM-Med3D's published inference: RAS, values as they are. The default. */
  'sam-med3d': { name: 'sam-med3d', spacing: 1.5, clamp: null, orientation: 'ras' },
  /** The same for CT, with the range its training data were limited to (Hounsfield units). */
  'sam-med3d-ct': { name: 'sam-med3d-ct', spacing: 1.5, clamp: [-1000, 1000], orientation: 'ras' },
  /** As SAM-Med3D was trained: axes in storage order, CT limited to −1000…1000 HU. */
  'sam-med3d-training': {
    name: 'sam-med3d-training',
    spacing: 1.5,
    clamp: [-1000, 1000],
    orientation: 'storage',
  },
  /** For weights trained here at every scale: CT in a window of its own, all values relative to the click's. */
  'sgp-sam': {
    name: 'sgp-sam',
    spacing: 1.5,
    clamp: null,
    orientation: 'ras',
    ct: [-300, 400],
    reference: 'click',
  },
} as const satisfies Record<string, Preset>;

/** A preset's name. */
export type PresetName = keyof typeof presets;

/**
 * The preset of this name, or the given preset once it is checked.
 * @throws SgpSamError `bad-argument` for an unknown name or a field out of range
 */
export function resolvePreset(preset: PresetName | Preset | (string & {}) = 'sam-med3d'): Preset {
  if (typeof preset === 'string') {
    if (Object.hasOwn(presets, preset)) return presets[preset as PresetName];
    const names = Object.keys(presets).join(', ');
    throw new SgpSamError('bad-argument', `there is no preset "${preset}"`, `Choose one of: ${names}.`);
  }
  needFields('preset', preset, 'name', 'spacing', 'orientation');
  const { name, spacing, clamp, orientation, ct, reference } = preset;
  const problem = !(spacing >= 0.01 && spacing <= 100)
    ? `spacing is ${spacing}, and must be 0.01 to 100 mm`
    : clamp && !(clamp[0] < clamp[1])
      ? `clamp is ${clamp.join(' … ')}, and must be a lower and a higher number`
      : ct && !(ct[0] < ct[1])
        ? `ct is ${ct.join(' … ')}, and must be a lower and a higher number`
        : orientation !== 'ras' && orientation !== 'storage'
          ? `orientation is "${String(orientation)}", and must be "ras" or "storage"`
          : reference !== undefined && reference !== 'click'
            ? `reference is "${String(reference)}", and must be "click" or not given`
            : undefined;
  if (problem) throw new SgpSamError('bad-argument', `preset "${name}": ${problem}`);
  return preset;
}
