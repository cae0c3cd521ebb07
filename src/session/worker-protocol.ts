/** What goes between a page and the worker that computes for it. Everything survives a structured clone. */
import { type ErrorCode, SgpSamError } from '../base/errors.js';
import type { SegmenterInfo } from './segmenter.js';

/** Whose method: the segmenter's, a volume's (by number), or a lesion's. */
export interface Target {
  readonly volume?: number;
  readonly lesion?: string;
}

export type Request =
  | {
      readonly id: number;
      readonly target: Target;
      readonly method: string;
      readonly args: readonly unknown[];
      /** Without signal and progress. */
      readonly options: object;
      /** Whether progress is wanted. */
      readonly progress: boolean;
    }
  /** Stop the call of this number. */
  | { readonly abort: number };

export interface Failure {
  readonly code?: ErrorCode;
  readonly message: string;
  readonly mend?: string | undefined;
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: Failure }
  | { readonly id: number; readonly progress: { stage: string; done: number; total: number } }
  /** The device went away. */
  | { readonly lost: Failure }
  /** There is another, and what the segmenter is on it. */
  | { readonly renewed: SegmenterInfo };

/** The part of `Worker`, `MessagePort` and a worker's own scope that both sides need. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof SgpSamError))
    return { message: error instanceof Error ? error.message : String(error) };
  const { code, mend } = error;
  // The constructor puts the mend into the message again.
  const message = mend ? error.message.slice(0, -`\n  ${mend}`.length) : error.message;
  return { code, message, mend };
}

export function errorOf({ code, message, mend }: Failure): Error {
  return code ? new SgpSamError(code, message, mend) : new Error(message);
}
