/** What a host has of volumes and lesions: handles, whose calls are done in this thread or sent to a worker. */
import { need, needOptions } from '../base/arguments.js';
import { SgpSamError } from '../base/errors.js';
import type { CallOptions } from './lesion-session.js';
import {
  type Lesion,
  lesionMethods,
  type MethodRow,
  type Methods,
  type MethodTable,
  type SegmenterVolume,
  type VolumeInfo,
  volumeMethods,
} from './segmenter.js';

/** Does a method's call; options are undefined where it takes none. */
export type Call = (
  method: string,
  args: readonly unknown[],
  options: CallOptions | undefined,
  row: MethodRow,
) => Promise<unknown>;

/** The methods of a table, each of which is a call. */
export function methodsOf<T>(table: MethodTable<T>, call: Call): Methods<T> {
  const rows = Object.entries(table) as [string, MethodRow][];
  const methods = rows.map(([name, row]) => [
    name,
    async (...given: unknown[]) => {
      const place = row.options;
      if (place === undefined) return call(name, given, undefined, row);
      const options = given[place] as CallOptions | undefined;
      needOptions(name, options);
      return call(
        name,
        Array.from({ length: place }, (_, n) => given[n]),
        options ?? {},
        row,
      );
    },
  ]);
  return Object.fromEntries(methods) as Methods<T>;
}

/** Calls a method that a table has, by its name. */
export const invoke = async (
  object: object,
  method: string,
  args: readonly unknown[],
  options?: object,
): Promise<unknown> =>
  (object as Record<string, (...args: unknown[]) => unknown>)[method](...args, ...(options ? [options] : []));

/** A lesion as those know it who do its calls. */
export interface LesionTarget {
  readonly name: string;
  /** Why calls are errors: it was removed, or its volume disposed of. */
  gone?: string | undefined;
}

/** @throws SgpSamError `bad-argument` for a lesion that is gone */
export function checkHere({ name, gone }: LesionTarget): void {
  if (gone) throw new SgpSamError('bad-argument', `lesion '${name}': ${gone}`);
}

/** @param callOf does the calls of a lesion, or of the volume itself */
export function volumeHandle(
  info: VolumeInfo,
  callOf: (lesion: LesionTarget | undefined) => Call,
): SegmenterVolume {
  const lesions = new Map<string, { readonly target: LesionTarget; readonly lesion: Lesion }>();
  let disposed = false;
  const checkOpen = () => {
    if (disposed) throw new SgpSamError('bad-argument', 'this volume was disposed of');
  };
  const call = callOf(undefined);
  const own = methodsOf<SegmenterVolume>(volumeMethods, (...asked) => {
    checkOpen();
    return call(...asked);
  });
  return {
    ...own,
    info,
    lesion(name) {
      checkOpen();
      need('lesion: name', name, 'a text');
      const found = lesions.get(name);
      if (found) return found.lesion;
      const target: LesionTarget = { name };
      const callLesion = callOf(target);
      const methods = methodsOf<Lesion>(lesionMethods, (...asked) => {
        checkHere(target);
        return callLesion(...asked);
      });
      const lesion = { name, ...methods };
      lesions.set(name, { target, lesion });
      return lesion;
    },
    async remove(name) {
      const found = lesions.get(name);
      if (found) found.target.gone = 'it was removed';
      lesions.delete(name);
      return own.remove(name);
    },
    async save(names, fileName, options) {
      need('save: names', names, 'a list');
      const unknown = names.find((name) => !lesions.has(name));
      if (unknown !== undefined) {
        const known = [...lesions.keys()].join(', ') || 'none';
        throw new SgpSamError('bad-argument', `there is no lesion '${unknown}'`, `There are: ${known}.`);
      }
      return own.save(names, fileName, options);
    },
    async dispose() {
      if (disposed) return;
      const done = own.dispose();
      disposed = true;
      for (const { target } of lesions.values()) target.gone = 'its volume was disposed of';
      lesions.clear();
      return done;
    },
  };
}
