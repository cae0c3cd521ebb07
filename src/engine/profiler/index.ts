/** Profiling, as an embedder sees it: in Node and in a page alike. */

export { type Ceilings, measureCeilings } from './ceilings.js';
export {
  type DispatchRow,
  groupBy,
  type Profile,
  type ProfileSettings,
  profileProgram,
  type ShaderText,
  shadersOf,
} from './profile.js';
export { profileText } from './text.js';
export { markDevTools, traceOf } from './trace.js';
export {
  type CompileWith,
  choicesOf,
  parseTunedTable,
  type TunedEntries,
  type TunedEntry,
  type TunedTable,
  type TuneOptions,
  tableFits,
  tunedTable,
  tuneProgram,
} from './tune.js';
