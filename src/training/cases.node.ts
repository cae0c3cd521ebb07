/** Cases from a data set's folder, in Node. */
import { type Progress, SgpSamError } from '../errors.js';
import { components } from '../volumes/components.js';
import { type DatasetCase, some } from '../volumes/dataset.js';
import { readCase } from '../volumes/dataset.node.js';
import type { CaseSource } from './cases.js';

export interface FolderCasesOptions {
  readonly channel?: number | undefined;
  /** Values in the label volumes that are lesion. */
  readonly label: readonly number[];
  /** `component`: every connected part of the label is a lesion of its own; `label`: all of it is one. */
  readonly target: 'component' | 'label';
}

/** The cases of a list; each is read when it is asked for. */
export function folderCases(cases: readonly DatasetCase[], options: FolderCasesOptions): CaseSource {
  const { channel, label, target } = options;
  return {
    ids: cases.map(({ id }) => id),
    async load(n) {
      const { image, mask } = await readCase(cases[n], { channel, label });
      const { id } = cases[n];
      if (target === 'label') {
        const voxels = mask.reduce((sum, v) => sum + v, 0);
        return { id, image, lesions: mask, sizes: [voxels] };
      }
      const { labels, sizes } = components(mask, image.dims);
      return { id, image, lesions: labels, sizes };
    },
  };
}

export interface CheckOptions {
  /** Leave bad cases out instead of throwing. */
  readonly skip: boolean;
  /** Leave cases out in which nothing is labelled, and they alone. */
  readonly skipWithoutLesion?: boolean | undefined;
  /** Told of each case left out, and why. */
  readonly warn: (id: string, error: SgpSamError) => void;
  readonly progress?: Progress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads every case once, so that a bad one is found now and not after hours.
 * @returns the source without the bad ones, when they are to be skipped
 * @throws SgpSamError of the first bad case, naming it; `bad-file` when none is left
 */
export async function checkCases(source: CaseSource, options: CheckOptions): Promise<CaseSource> {
  const good: number[] = [];
  for (const [n, id] of source.ids.entries()) {
    if (options.signal?.aborted) throw new SgpSamError('aborted', 'stopped while checking the cases');
    try {
      await source.load(n);
      good.push(n);
    } catch (error) {
      if (!(error instanceof SgpSamError)) throw error;
      const empty = error.code === 'no-lesion';
      if (!options.skip && !(empty && options.skipWithoutLesion)) {
        const flag = empty ? '--skip-cases-without-lesion' : '--skip-bad-cases';
        throw new SgpSamError(
          error.code,
          `case ${id}: ${error.message}`,
          `Mend the case or take it off the list; ${flag} leaves such cases out.`,
          { cause: error },
        );
      }
      options.warn(id, error);
    }
    options.progress?.({ stage: 'cases', done: n + 1, total: source.ids.length });
  }
  if (good.length === 0) {
    const names = some(source.ids);
    throw new SgpSamError('bad-file', `no case is left: none of ${names} can be used`, 'Mend these cases.');
  }
  return { ids: good.map((n) => source.ids[n]), load: (n) => source.load(good[n]) };
}
