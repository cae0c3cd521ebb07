/** A session as a file: which volume and weights, gates, and what was clicked. */
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import type { GateSetting } from '../engine/graph/regions.js';
import { actionsFromJson, actionsToJson } from '../session/actions-json.js';
import type { Action } from '../session/lesion-state.js';
import type { VolumeInfo } from '../session/segmenter.js';

const FORMAT = 'sgp-sam session';

export interface SavedSession {
  /** The weights it was made with. */
  readonly weights: string;
  readonly gates: readonly GateSetting[];
  readonly lesions: readonly { readonly name: string; readonly actions: readonly Action[] }[];
}

export function writeSession(volume: VolumeInfo, session: SavedSession): string {
  const { name, dims, affine, channel } = volume;
  const { weights } = session;
  const lesions = session.lesions.map((one) => ({ name: one.name, actions: actionsToJson(one.actions) }));
  return `${JSON.stringify(
    {
      format: FORMAT,
      version: 1,
      volume: { name, dims, affine, channel },
      weights,
      gates: session.gates,
      lesions,
    },
    null,
    1,
  )}\n`;
}

/** @throws SgpSamError `bad-file` for anything else, and for a session of another grid or channel */
export function readSession(text: string | Uint8Array, file: string, volume: VolumeInfo): SavedSession {
  const other = 'Choose a file that Save session wrote.';
  const fail = (what: string, mend = other) => new SgpSamError('bad-file', `${file}: ${what}`, mend);
  const value = readJson(text, file, other) as Record<string, unknown>;
  if (value?.format !== FORMAT || value.version !== 1) throw fail(`is no ${FORMAT} of version 1`);
  const { dims, affine, channel } = (value.volume ?? {}) as Record<string, unknown>;
  const same =
    String(dims) === String(volume.dims) &&
    Array.isArray(affine) &&
    affine.length === 16 &&
    affine.every((v, n) => Math.abs(Number(v) - volume.affine[n]) <= 1e-4);
  if (!same)
    throw fail(`was saved for a volume of ${dims} voxels on another grid`, 'Open that volume first.');
  if (channel !== volume.channel)
    throw fail(
      `was saved for channel ${channel}, and channel ${volume.channel} is open`,
      'Choose that channel first.',
    );
  if (typeof value.weights !== 'string') throw fail('weights: no text');
  const settings = ['auto', 'open', 'closed'];
  const gates = value.gates;
  if (!Array.isArray(gates) || !gates.every((gate) => settings.includes(gate)))
    throw fail('gates: not a list of auto, open and closed');
  if (!Array.isArray(value.lesions)) throw fail('lesions: no list');
  const lesions = value.lesions.map((one: { name?: unknown; actions?: unknown } | null, n) => {
    if (typeof one?.name !== 'string') throw fail(`lesions[${n}].name: no text`);
    return { name: one.name, actions: actionsFromJson(one.actions, volume.dims, `${file}, lesions[${n}]`) };
  });
  return { weights: value.weights, gates, lesions };
}
