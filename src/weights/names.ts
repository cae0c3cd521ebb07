/** Tensor names as the model has them, whatever a checkpoint's model was wrapped in when it was saved. */
import { SgpSamError } from '../base/errors.js';

/** DataParallel, torch.compile, and what classes around a model call it (Lightning's, MedSAM's, MONAI's). */
const WRAPPERS = ['module', '_orig_mod', 'model', 'sam_model', 'net'];
/** What a name of ours begins with. */
const ROOTS = ['image_encoder', 'prompt_encoder', 'mask_decoder', 'sgpm'];

const ours = new RegExp(`^(?:(?:${WRAPPERS.join('|')})\\.)*(?=(?:${ROOTS.join('|')})\\.)`);

/**
 * The same tensors without their wrappers' prefixes: those that all names share, and those before a part of our model,
 * where compiled or distributed submodules (`image_encoder._orig_mod.`) are undone too.
 * @throws SgpSamError `bad-weights` when two names would become one
 */
export function unwrapNames<T>(file: string, tensors: ReadonlyMap<string, T>): Map<string, T> {
  const names = [...tensors.keys()];
  let shared = '';
  for (;;) {
    const next = WRAPPERS.find((wrapper) => names.every((name) => name.startsWith(`${shared}${wrapper}.`)));
    if (next === undefined || names.length === 0) break;
    shared += `${next}.`;
  }
  const unwrapped = new Map<string, T>();
  for (const [name, tensor] of tensors) {
    const rest = name.slice(shared.length);
    const own = ours.test(rest) ? rest.replace(ours, '').replace(/\.(?:module|_orig_mod)(?=\.)/g, '') : rest;
    if (unwrapped.has(own)) {
      throw new SgpSamError(
        'bad-weights',
        `${file}: holds '${own}' twice, once as '${name}'`,
        'Save one of the two models alone.',
      );
    }
    unwrapped.set(own, tensor);
  }
  return unwrapped;
}
