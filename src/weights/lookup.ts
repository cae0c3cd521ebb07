import { SgpSamError } from '../base/errors.js';

/**
 * The entry for a tensor name.
 * @throws SgpSamError `bad-weights` naming the file when it has no such tensor.
 */
export function tensorOf<T>(file: string, tensors: ReadonlyMap<string, T>, name: string): T {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new SgpSamError('bad-weights', `${file}: there is no tensor '${name}'`);
  return tensor;
}
