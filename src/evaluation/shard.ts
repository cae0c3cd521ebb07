/** Parts of a run that machines share. */
import { SgpSamError } from '../base/errors.js';

/** Part `index` (from 1) of `of`. */
export interface Shard {
  readonly index: number;
  readonly of: number;
}

/**
 * Reads `i/n`.
 * @throws SgpSamError `bad-argument` unless 1 ≤ i ≤ n
 */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text.trim());
  const [index, of] = [Number(match?.[1]), Number(match?.[2])];
  if (match && index >= 1 && index <= of) return { index, of };
  throw new SgpSamError(
    'bad-argument',
    `--shard '${text}' is not a part of a whole: i/n with i from 1 to n`,
    'For instance: --shard 2/8',
  );
}

/** Whether item n (from 0) of a list is the shard's: every of-th one, so that long cases side by side are spread. */
export const inShard = (n: number, shard: Shard | null): boolean =>
  shard === null || n % shard.of === shard.index - 1;
