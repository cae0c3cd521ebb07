/** Cases from a data set's folder, in Node. */
import { type Progress, SgpSamError } from '../base/errors.js';
import { components } from '../imaging/components.js';
import { type DatasetCase, some } from '../imaging/dataset.js';
import { type CaseData, type ReadCaseOptions, readCase } from '../imaging/dataset.node.js';
import { isLesion, type LesionEntry, listCase, readLesionList } from '../imaging/lesion-list.node.js';
import type { Image } from '../imaging/types.js';
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

export interface ListCasesOptions {
  /** Connected parts of a label with fewer voxels are specks of a mask's resampling, and no lesions; 5 if not given. */
  readonly fewest?: number | undefined;
  /** How a case is read; `readCase` if not given. */
  readonly read?:
    | ((one: DatasetCase, options: ReadCaseOptions) => Promise<{ image: Image; mask: CaseData['mask'] }>)
    | undefined;
}

/** Cases of a list, and whose each is: what is trained on and what validates must not share a subject. */
export interface ListedCases extends CaseSource {
  readonly subjects: readonly string[];
}

/**
 * The lesions of a list (`volumes/lesion-list.node.ts`) that may be trained on: entries of the kind `lesion` with the use `train`, never
 * another. Every connected part of a label is a lesion.
 * @throws SgpSamError `bad-file` as `readLesionList`, and from `load` as `readCase`; `no-lesion` for a label of specks alone
 */
export async function listCases(
  file: string,
  { fewest = 5, read = readCase }: ListCasesOptions = {},
): Promise<ListedCases> {
  const entries = await readLesionList(
    file,
    (entry): entry is LesionEntry => isLesion(entry) && entry.use === 'train',
  );
  const ids = entries.map(({ id }) => id);
  return {
    ids,
    subjects: entries.map(({ subject, id }) => subject ?? id),
    async load(n) {
      const { one, label, channel } = listCase(entries[n]);
      const { image, mask } = await read(one, { label, channel });
      const { labels, sizes } = components(mask, image.dims);
      for (let at = 0; at < labels.length; at++) if (sizes[labels[at] - 1] < fewest) labels[at] = 0;
      const kept = sizes.map((voxels) => (voxels < fewest ? 0 : voxels));
      if (kept.every((voxels) => voxels === 0))
        throw new SgpSamError(
          'no-lesion',
          `${one.label}: no connected part has ${fewest} voxels`,
          'Take it off the list.',
        );
      const known = { ...image, hounsfield: entries[n].modality === 'CT' };
      return { id: ids[n], image: known, lesions: labels, sizes: kept };
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
