/**
 * Data sets in the Brain Imaging Data Structure: images of subjects (`sub-01/anat/sub-01_FLAIR.nii.gz`), and lesions among its
 * derivatives (`…_label-lesion_mask.nii.gz`). This file reads names.
 */
import { SgpSamError } from '../base/errors.js';
import { caseName, type DatasetCase, some } from './dataset.js';

/** What a file's name says: entities by key, and the suffix that says what it shows. */
interface BidsName {
  readonly path: string;
  readonly entities: ReadonlyMap<string, string>;
  readonly suffix: string;
  readonly derived: boolean;
}

/** `sub-01_ses-2_label-lesion_mask.nii.gz`; undefined for other names. */
function parseName(path: string): BidsName | undefined {
  const parts = caseName(path).split('_');
  const suffix = parts.pop()!;
  const entities = new Map<string, string>();
  for (const part of parts) {
    const entity = /^([a-zA-Z]+)-([a-zA-Z0-9+]+)$/.exec(part);
    if (!entity) return undefined;
    entities.set(entity[1], entity[2]);
  }
  return entities.has('sub') && /^[a-zA-Z0-9]+$/.test(suffix)
    ? { path, entities, suffix, derived: /(^|\/)derivatives\//.test(path) }
    : undefined;
}

const DRAWN = /^(mask|roi|dseg|probseg)$/;

/** Lesions, by label or by description (as ATLAS has it: `label-L_desc-T1lesion_mask`). */
const isLesionMask = ({ entities, suffix }: BidsName): boolean =>
  /^(mask|roi)$/.test(suffix) &&
  [entities.get('label'), entities.get('desc')].some((text) => /lesion|stroke|tumou?r/i.test(text ?? ''));

/** Entities that say which acquisition a file is of; a mask may leave out those that do not matter. */
const OWN = ['ses', 'run', 'acq', 'ce', 'rec'] as const;

function belongs(image: BidsName, mask: BidsName): boolean {
  const [a, b] = [image.entities, mask.entities];
  if (a.get('sub') !== b.get('sub') || a.get('ses') !== b.get('ses')) return false;
  // A mask that was drawn elsewhere than on the subject's own image has its image there too.
  const own = (space: string | undefined) => (space === 'orig' || space === 'native' ? undefined : space);
  if (own(a.get('space')) !== own(b.get('space'))) return false;
  return OWN.every((key) => !b.has(key) || a.get(key) === b.get(key));
}

/**
 * The cases of a BIDS folder: every lesion mask with the images of its subject and session.
 * @param files paths from the folder, with forward slashes
 * @returns undefined for a folder that has no lesion masks with such names
 * @throws SgpSamError `bad-file` for masks without images
 */
export function bidsCases(
  files: readonly string[],
  source: string,
): { cases: DatasetCase[]; channels: readonly string[]; lonely: readonly string[] } | undefined {
  const names = files.flatMap((path) => parseName(path) ?? []);
  const masks = names.filter(isLesionMask);
  if (masks.length === 0) return undefined;
  const images = names.filter(({ suffix }) => !DRAWN.test(suffix));
  const found = masks.map((mask) => {
    const own = images.filter((image) => belongs(image, mask));
    // The subject's own images before what was derived of them; of several alike the first.
    const byKind = new Map<string, string>();
    for (const image of own.sort(
      (a, b) => Number(a.derived) - Number(b.derived) || (a.path < b.path ? -1 : 1),
    ))
      if (!byKind.has(image.suffix)) byKind.set(image.suffix, image.path);
    return { mask, byKind };
  });
  const without = found.filter(({ byKind }) => byKind.size === 0);
  if (without.length > 0)
    throw new SgpSamError(
      'bad-file',
      `${source}: ${without.length} lesion mask(s) have no image: ${some(without.map(({ mask }) => mask.path))}`,
      'Put images beside them whose names begin with the same sub- and ses-, and have the same space- if they have one.',
    );
  const kinds = [...found[0].byKind.keys()]
    .filter((kind) => found.every(({ byKind }) => byKind.has(kind)))
    .sort();
  if (kinds.length === 0)
    throw new SgpSamError(
      'bad-file',
      `${source}: no kind of image is there for every lesion mask (${[...found[0].byKind.keys()].join(', ')} for ${found[0].mask.path})`,
      'List the cases in a dataset.json or in a list of pairs.',
    );
  const cases = found.map(({ mask, byKind }): DatasetCase => {
    const paths = kinds.map((kind) => byKind.get(kind)!);
    return {
      id: caseName(mask.path).replace(/_(mask|roi)$/, ''),
      image: paths[0],
      images: paths,
      label: mask.path,
    };
  });
  return { cases: cases.sort((a, b) => (a.id < b.id ? -1 : 1)), channels: kinds, lonely: [] };
}
