/*
 * What a pickle can describe, as far as we tell things apart. Lists are arrays, text is string, integers are
 * number when exact and bigint otherwise.
 */

export type PyValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PyValue[]
  | PyTuple
  | PyDict
  | PyGlobal
  | Placeholder
  | PyOpaque;

export class PyTuple {
  constructor(readonly items: readonly PyValue[]) {}
}

/** A dict or OrderedDict. Keys that are objects are told apart by identity, which no state dict needs. */
export class PyDict {
  private filled: Map<PyValue, PyValue> | undefined;
  /** Made when it is asked for: a pickle may hold a million dicts with nothing in them. */
  get entries(): Map<PyValue, PyValue> {
    this.filled ??= new Map();
    return this.filled;
  }
}

/** Our own reading of a call; gets the arguments and a way to reject them as malformed. */
export type PyCall = (args: readonly PyValue[], fail: (what: string) => never) => PyValue;

/** A class or function that we understand. Without `call` it is only ever named (a storage type, a dtype). */
export class PyGlobal {
  constructor(
    readonly dotted: string,
    readonly call: PyCall | undefined,
  ) {}
}

/** Stands for a class or function we do not understand and never run, and for all that is made with it. */
export class Placeholder {
  constructor(readonly dotted: string) {}
}

/** Base of the values that `PyCall`s and persistent ids make (storages, tensors). */
export abstract class PyOpaque {
  /** Keeps the class nominal: without a member every object would fit it. */
  abstract readonly kind: string;
}
