import { SgpSamError } from '../base/errors.js';
import { unwrapNames } from './names.js';
import { Placeholder, PyDict, PyGlobal, type PyValue } from './pickle-values.js';
import { TorchTensor } from './torch-pickle.js';

/** Where training scripts put the model's state dict, in the order we look. */
const KEYS = ['model_state_dict', 'state_dict', 'model'] as const;

const SAVE_AGAIN = 'In PyTorch: torch.save(model.state_dict(), path).';

export interface FoundStateDict {
  readonly tensors: Map<string, TorchTensor>;
  /** What was taken and what else there is, in one line, if there is something else. */
  readonly note: string | undefined;
}

/**
 * Finds the model's tensors in what a checkpoint's pickle describes: under `model_state_dict`, `state_dict` or
 * `model`, or at the top if that is a dict of tensors. Wrappers' prefixes are cut.
 * @param key where they are, if not the first of these
 * @throws SgpSamError `bad-argument` for a key that holds no state dict; `bad-file` when there is no state dict, `unsupported` when it, or a tensor of it, is made
 *   by a class or function that is not understood and was not run, naming that.
 */
export function findStateDict(
  file: string,
  top: PyValue,
  placeholders: readonly string[],
  key?: string,
): FoundStateDict {
  const { dict, where } = locate(file, top, placeholders, key);
  const tensors = new Map<string, TorchTensor>();
  for (const [name, value] of dict.entries) {
    // Counters of wrappers: Transformer Engine's state, and how many models torch's AveragedModel is the mean of.
    if (typeof name !== 'string' || name.endsWith('_extra_state') || name === 'n_averaged') continue;
    if (value instanceof TorchTensor) tensors.set(name, value);
    else if (value instanceof Placeholder) throw notATensor(file, name, value);
  }
  if (tensors.size === 0) {
    const names = placeholders.length > 0 ? `; not run: ${some(placeholders)}` : '';
    throw new SgpSamError('bad-file', `${file}: ${where} holds no tensors${names}`, SAVE_AGAIN);
  }
  const others = stateDictKeys(top).filter((other) => (top as PyDict).entries.get(other) !== dict);
  const note =
    others.length > 0
      ? `${file}: ${where} was taken; there is also ${some(others)} (convert --state-dict takes another)`
      : undefined;
  return { tensors: unwrapNames(file, tensors), note };
}

/** Keys of a checkpoint that hold a dict of tensors. */
function stateDictKeys(top: PyValue): string[] {
  if (!(top instanceof PyDict)) return [];
  const found: string[] = [];
  for (const [key, value] of top.entries) {
    if (typeof key !== 'string' || !(value instanceof PyDict) || value === top) continue;
    for (const item of value.entries.values()) {
      if (!(item instanceof TorchTensor)) continue;
      found.push(key);
      break;
    }
  }
  return found;
}

function locate(
  file: string,
  top: PyValue,
  placeholders: readonly string[],
  asked: string | undefined,
): { dict: PyDict; where: string } {
  if (top instanceof Placeholder) throw isObject(file, 'the checkpoint', top);
  if (!(top instanceof PyDict)) {
    throw new SgpSamError('bad-file', `${file}: holds ${describe(top)} instead of a state dict`, SAVE_AGAIN);
  }
  if (asked !== undefined) {
    const dict = top.entries.get(asked);
    if (dict instanceof PyDict && dict !== top) return { dict, where: `'${asked}'` };
    const keys = some(stateDictKeys(top)) || 'none';
    throw new SgpSamError(
      'bad-argument',
      `${file}: there is no state dict '${asked}'`,
      `There are: ${keys}.`,
    );
  }
  let object: SgpSamError | undefined;
  for (const key of KEYS) {
    const value: PyValue | undefined = top.entries.get(key);
    if (value === top) throw new SgpSamError('bad-file', `${file}: its '${key}' is the checkpoint itself`);
    if (value instanceof PyDict) return { dict: value, where: `'${key}'` };
    if (value instanceof Placeholder) object ??= isObject(file, `'${key}'`, value);
  }
  if (object) throw object;
  const values = [...top.entries.values()];
  const plain = values.every((value) => !(value instanceof PyDict) && !Array.isArray(value));
  if (plain && values.some((value) => value instanceof TorchTensor || value instanceof Placeholder)) {
    return { dict: top, where: 'the checkpoint' };
  }
  const keys = [...top.entries.keys()].map((key) => (typeof key === 'string' ? key : describe(key)));
  const notRun = placeholders.length > 0 ? `; not run: ${some(placeholders)}` : '';
  const others = stateDictKeys(top);
  throw new SgpSamError(
    'bad-file',
    `${file}: no state dict under ${KEYS.join(', ')} nor at the top, which has ${some(keys) || 'nothing'}${notRun}`,
    others.length > 0 ? `Tensors are in ${some(others)}: convert --state-dict ${others[0]}.` : SAVE_AGAIN,
  );
}

function isObject(file: string, what: string, { dotted }: Placeholder): SgpSamError {
  return new SgpSamError(
    'unsupported',
    `${file}: ${what} is made by ${dotted}, which was not run: only plain state dicts are read`,
    SAVE_AGAIN,
  );
}

function notATensor(file: string, name: string, { dotted }: Placeholder): SgpSamError {
  return new SgpSamError(
    'unsupported',
    `${file}: tensor '${name}' is made with ${dotted}, which is not understood and was not run`,
    'Save it as a plain dense tensor of a common type.',
  );
}

function describe(value: PyValue): string {
  if (value instanceof TorchTensor) return 'a single tensor';
  if (value instanceof Placeholder || value instanceof PyGlobal) return value.dotted;
  if (Array.isArray(value)) return 'a list';
  if (value !== null && typeof value === 'object') return 'a Python object';
  return String(value).slice(0, 40);
}

function some(names: readonly string[]): string {
  const more = names.length > 10 ? `, and ${names.length - 10} more` : '';
  return (
    names
      .slice(0, 10)
      .map((name) => name.slice(0, 200))
      .join(', ') + more
  );
}
