/** What went wrong, as a stable word a program can switch on. */
export type ErrorCode =
  | 'bad-argument' // an option or argument of a command or a public function
  | 'bad-file' // a file that cannot be read as what it claims to be
  | 'no-lesion' // a case whose label volume marks nothing
  | 'unsupported' // a valid input that this program does not handle
  | 'bad-prompt' // a click, box or mask that does not fit the volume
  | 'bad-weights' // missing, left-over or misshaped tensors
  | 'bad-graph' // operands of a tensor operation that do not fit together
  | 'no-adapter' // no WebGPU adapter, or none of the kind asked for
  | 'adapter-limit' // the adapter is too small for what was asked
  | 'device-lost' // the GPU device went away while work was pending
  | 'bad-shader' // a kernel that the driver does not compile
  | 'gpu-error' // validation, out-of-memory or internal error from WebGPU
  | 'worker-failed' // the worker that computes could not start, or ended
  | 'non-finite' // NaN or Inf where a number was needed
  | 'aborted'; // the caller's AbortSignal fired

/** Characters of a message. */
const MOST_SHOWN = 10_000;

/**
 * Every error this package throws on purpose: a code for programs, and for people a message that names the
 * place (file, field, tensor) and how to mend it.
 */
export class SgpSamError extends Error {
  override readonly name = 'SgpSamError';
  readonly code: ErrorCode;
  /** What the reader can do about it, one sentence; already part of `message`. */
  readonly mend: string | undefined;

  /** Of whichever copy of this class: the parts of the package that load later carry their own. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && value.name === 'SgpSamError' && 'code' in value;
  }

  constructor(code: ErrorCode, what: string, mend?: string, options?: ErrorOptions) {
    // Names in somebody's file may be megabytes long.
    const message = what.length > MOST_SHOWN ? `${what.slice(0, MOST_SHOWN)}…` : what;
    super(mend ? `${message}\n  ${mend}` : message, options);
    this.code = code;
    this.mend = mend;
  }
}

/** Told about long work as it goes; `total` is 0 while it is unknown. Units are the stage's own (bytes, steps). */
export type Progress = (event: { stage: string; done: number; total: number }) => void;

/** @throws SgpSamError `aborted` once `signal` has fired, with its reason as the cause */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new SgpSamError('aborted', 'stopped on request', undefined, { cause: signal.reason });
}
