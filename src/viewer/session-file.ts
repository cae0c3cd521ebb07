/** A session as a file: which volume and weights, gates, what was clicked, and what was measured, for a later comparison. */
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { actionsFromJson, actionsToJson } from '../session/actions-json.js';
import type { Action } from '../session/lesion-state.js';
import type { VolumeInfo } from '../session/segmenter.js';

const FORMAT = 'sgp-sam session';
/** Version 1 had no numbers, no channels per lesion, no measures. */
const VERSION = 2;

/** What a lesion measured when it was saved. */
export interface SavedMeasures {
  readonly millilitres: number;
  readonly longMm?: number | undefined;
  readonly shortMm?: number | undefined;
  readonly mean?: number | undefined;
  readonly deviation?: number | undefined;
}

export interface SavedLesion {
  readonly name: string;
  /** Its number in saved masks. */
  readonly value?: number | undefined;
  readonly channel: number;
  readonly actions: readonly Action[];
  readonly measures?: SavedMeasures | undefined;
}

export interface SavedSession {
  /** The weights it was made with. */
  readonly weights: string;
  readonly gates: readonly GateSetting[];
  readonly lesions: readonly SavedLesion[];
}

/** What of a session can be compared with another scan's lesions. */
export interface EarlierSession {
  /** The scan's file. */
  readonly scan: string;
  /** ISO 8601; undefined in files that did not say. */
  readonly saved: string | undefined;
  readonly lesions: readonly { readonly name: string; readonly measures: SavedMeasures }[];
}

/** @param saved when, ISO 8601 */
export function writeSession(volume: VolumeInfo, session: SavedSession, saved: string): string {
  const { name, dims, affine, channel } = volume;
  const { weights } = session;
  const lesions = session.lesions.map((one) => ({ ...one, actions: actionsToJson(one.actions) }));
  return `${JSON.stringify(
    {
      format: FORMAT,
      version: VERSION,
      saved,
      volume: { name, dims, affine, channel },
      weights,
      gates: session.gates,
      lesions,
    },
    null,
    1,
  )}\n`;
}

const MEND = 'Choose a file that Save session wrote.';

function read(text: string | Uint8Array, file: string) {
  const fail = (what: string, mend = MEND) => new SgpSamError('bad-file', `${file}: ${what}`, mend);
  const value = readJson(text, file, MEND) as Record<string, unknown>;
  if (value?.format !== FORMAT || (value.version !== 1 && value.version !== VERSION))
    throw fail(`is no ${FORMAT} of version 1 or ${VERSION}`);
  if (!Array.isArray(value.lesions)) throw fail('lesions: no list');
  const lesions = value.lesions.map((one: Record<string, unknown> | null, n) => {
    if (typeof one?.name !== 'string') throw fail(`lesions[${n}].name: no text`);
    return { ...one, name: one.name };
  }) as (Record<string, unknown> & { readonly name: string })[];
  return { value, lesions, fail };
}

const onGrid = (saved: unknown, { dims, affine }: VolumeInfo): boolean => {
  const its = (saved ?? {}) as Record<string, unknown>;
  return (
    String(its.dims) === String(dims) &&
    Array.isArray(its.affine) &&
    its.affine.length === 16 &&
    its.affine.every((v, n) => Math.abs(Number(v) - affine[n]) <= 1e-4)
  );
};

/**
 * Whether a session was saved for another scan than this one: then it can be compared, and not gone on with.
 * @throws SgpSamError `bad-file` for what is no session
 */
export const isOfAnother = (text: string | Uint8Array, file: string, volume: VolumeInfo): boolean =>
  !onGrid(read(text, file).value.volume, volume);

/** @throws SgpSamError `bad-file` for anything else, and for a session of another grid or channel */
export function readSession(text: string | Uint8Array, file: string, volume: VolumeInfo): SavedSession {
  const { value, lesions, fail } = read(text, file);
  const { dims, channel } = (value.volume ?? {}) as Record<string, unknown>;
  if (!onGrid(value.volume, volume))
    throw fail(`was saved for a volume of ${dims} voxels on another grid`, 'Open that volume first.');
  if (typeof value.weights !== 'string') throw fail('weights: no text');
  const settings = ['auto', 'open', 'closed'];
  const gates = value.gates;
  if (!Array.isArray(gates) || !gates.every((gate) => settings.includes(gate)))
    throw fail('gates: not a list of auto, open and closed');
  return {
    weights: value.weights,
    gates,
    lesions: lesions.map((one, n): SavedLesion => {
      const own = one.channel ?? channel;
      if (!Number.isInteger(own) || (own as number) < 0 || (own as number) >= volume.channels)
        throw fail(
          `lesions[${n}] was made in channel ${own}, and this file has ${volume.channels}`,
          'Open the file that it was saved for.',
        );
      return {
        name: one.name,
        value: Number.isInteger(one.value) ? (one.value as number) : undefined,
        channel: own as number,
        actions: actionsFromJson(one.actions, volume.dims, `${file}, lesions[${n}]`),
      };
    }),
  };
}

/**
 * A session's measures alone, whatever its scan.
 * @throws SgpSamError `bad-file` for anything else, and for a session that has none
 */
export function readEarlier(text: string | Uint8Array, file: string): EarlierSession {
  const { value, lesions, fail } = read(text, file);
  const number = (v: unknown) => (typeof v === 'number' && Number.isFinite(v) && v >= 0 ? v : undefined);
  const measured = lesions.flatMap(({ name, measures }) => {
    const own = (measures ?? {}) as Record<string, unknown>;
    const millilitres = number(own.millilitres);
    return millilitres === undefined
      ? []
      : [
          {
            name,
            measures: { ...own, millilitres, longMm: number(own.longMm), shortMm: number(own.shortMm) },
          },
        ];
  });
  if (measured.length === 0)
    throw fail('has no lesion that was measured', 'Open it with its scan, and save it again.');
  const { name } = (value.volume ?? {}) as Record<string, unknown>;
  return {
    scan: typeof name === 'string' ? name : '',
    saved:
      typeof value.saved === 'string' && !Number.isNaN(Date.parse(value.saved)) ? value.saved : undefined,
    lesions: measured,
  };
}
