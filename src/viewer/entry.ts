/** A lesion of the list: its name and number, what was done on it, what was measured. */
import type { CroppedMask } from '../imaging/crop.js';
import type { LesionAxes } from '../imaging/metrics/axes.js';
import type { Intensity } from '../imaging/metrics/intensity.js';
import type { Action } from '../session/lesion-state.js';
import type { Chain, Shown } from './chain.js';

/** What is measured on a mask, in the channel that is shown. */
export interface Measures {
  readonly axes: LesionAxes | undefined;
  readonly intensity: Intensity | undefined;
}

export class Entry {
  visible = true;
  private measured:
    | { readonly crop: CroppedMask; readonly channel: number; readonly measures: Measures }
    | undefined;

  /**
   * @param value its number in what is saved, from 1, and its value in the drawing; its colour
   */
  constructor(
    public name: string,
    readonly value: number,
    readonly chain: Chain,
  ) {}

  get state(): Shown | undefined {
    return this.chain.state;
  }

  get actions(): readonly Action[] {
    return this.chain.actions;
  }

  get voxels(): number {
    return this.state?.voxels ?? 0;
  }

  /** Undefined while they are not known of the mask that there is. */
  get measures(): Measures | undefined {
    return this.measured && this.measured.crop === this.state?.crop ? this.measured.measures : undefined;
  }

  /** Whether the mask was measured in this channel. */
  isMeasured(channel: number): boolean {
    return this.measures !== undefined && this.measured?.channel === channel;
  }

  measure(crop: CroppedMask, channel: number, measures: Measures): void {
    this.measured = { crop, channel, measures };
  }
}

/** A prompt of a lesion that can be moved or taken away. */
export interface PromptMark {
  readonly step: number;
  readonly action: number;
  readonly what: Action;
}

/** The prompts that led to a lesion, in turn. */
export const promptsOf = ({ chain }: Entry): PromptMark[] =>
  chain.steps.flatMap((actions, step) => actions.map((what, action) => ({ step, action, what })));
