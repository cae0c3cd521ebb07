/** Comparing with a fixture, tensor by tensor, and reading its metadata. */
import { SgpSamError } from '../base/errors.js';
import { readJson } from '../base/json.js';
import type { WeightSource } from '../weights/weight-source.js';

export type Fixture = WeightSource;

/** One tensor compared: ‖ours − theirs‖₂ / ‖theirs‖₂ against its tolerance. */
export interface ParityRow {
  readonly stage: string;
  readonly relativeL2: number;
  readonly maxAbs: number;
  readonly tolerance: number;
  readonly ok: boolean;
}

/** A fixture compared, tensor by tensor. */
export interface ParityReport {
  readonly fixture: string;
  readonly kind: string;
  readonly rows: readonly ParityRow[];
  /** What was not compared, and why. */
  readonly notes: readonly string[];
  /** Something was compared, and all of it was within tolerance. */
  readonly ok: boolean;
}

/** A gradient below this part of the largest one is rounding; ours must then be below ZERO_TOLERANCE of it. */
const NUMERICALLY_ZERO = 1e-9;
const ZERO_TOLERANCE = 1e-6;

/** Norms of runs of a vector: `hypot` of all elements at once would need as many arguments. */
export function chunkNorms(values: Float32Array): number[] {
  const norms: number[] = [];
  for (let i = 0; i < values.length; i += 4096) norms.push(Math.hypot(...values.subarray(i, i + 4096)));
  return norms;
}

export class Comparison {
  readonly rows: ParityRow[] = [];
  readonly notes: string[] = [];
  readonly seen = new Set<string>();

  constructor(readonly fixture: Fixture) {}

  has(name: string): boolean {
    return this.fixture.tensors.has(name);
  }

  shape(name: string): readonly number[] {
    const tensor = this.fixture.tensors.get(name);
    if (!tensor) {
      throw new SgpSamError(
        'bad-file',
        `${this.fixture.name}: tensor '${name}' is missing`,
        'The fixture is incomplete.',
      );
    }
    return tensor.shape;
  }

  values(name: string): Promise<Float32Array> {
    this.shape(name);
    this.seen.add(name);
    return this.fixture.readF32(name);
  }

  /**
   * Adds a row: ‖actual − expected‖ / ‖expected‖, NaN counting as a failure. `tolerance` 0 wants equality;
   * `expectedOf` picks the comparable part of what the fixture holds.
   */
  async compare(
    name: string,
    actual: ArrayLike<number>,
    tolerance: number,
    expectedOf?: (values: Float32Array) => Float32Array,
  ): Promise<void> {
    const stored = await this.values(name);
    const expected = expectedOf ? expectedOf(stored) : stored;
    if (expected.length !== actual.length) throw this.otherLength(name, expected.length, actual.length);
    let difference = 0;
    let norm = 0;
    let maxAbs = 0;
    for (let i = 0; i < expected.length; i++) {
      const d = Math.abs(actual[i] - expected[i]);
      difference += d * d;
      norm += expected[i] * expected[i];
      if (!(d <= maxAbs)) maxAbs = d;
    }
    const relativeL2 = norm > 0 ? Math.sqrt(difference / norm) : Math.sqrt(difference);
    this.rows.push({ stage: name, relativeL2, maxAbs, tolerance, ok: relativeL2 <= tolerance });
  }

  private otherLength(name: string, stored: number, computed: number): SgpSamError {
    return new SgpSamError(
      'bad-file',
      `${this.fixture.name}: '${name}' has ${stored} elements, this model computes ${computed}`,
      "Check the fixture's metadata (config, img, patch, dim, …).",
    );
  }

  /** Adds a row whose figure is the largest |actual − expected| / |expected| of any element. */
  async compareEach(name: string, actual: ArrayLike<number>, tolerance: number): Promise<void> {
    const expected = await this.values(name);
    if (expected.length !== actual.length) throw this.otherLength(name, expected.length, actual.length);
    let relative = 0;
    let maxAbs = 0;
    expected.forEach((value, i) => {
      const d = Math.abs(actual[i] - value);
      if (!(d <= maxAbs)) maxAbs = d;
      const r = value === 0 ? d : d / Math.abs(value);
      if (!(r <= relative)) relative = r;
    });
    this.rows.push({ stage: name, relativeL2: relative, maxAbs, tolerance, ok: relative <= tolerance });
  }

  /**
   * Adds a row for a gradient: relative to its own norm, or to `scale` where it is numerically zero (a bias in
   * front of a softmax: what both sides hold is rounding).
   */
  async compareGradient(name: string, actual: Float32Array, tolerance: number, scale: number): Promise<void> {
    const expected = await this.values(name);
    if (Math.hypot(...chunkNorms(expected)) > NUMERICALLY_ZERO * scale) {
      await this.compare(name, actual, tolerance);
      return;
    }
    const difference = expected.map((value, i) => actual[i] - value);
    const relativeL2 = Math.hypot(...chunkNorms(difference)) / scale;
    let maxAbs = 0;
    for (const d of difference) if (!(Math.abs(d) <= maxAbs)) maxAbs = Math.abs(d); // NaN stays
    const stage = `${name} (zero)`;
    this.rows.push({
      stage,
      relativeL2,
      maxAbs,
      tolerance: ZERO_TOLERANCE,
      ok: relativeL2 <= ZERO_TOLERANCE,
    });
  }

  report(kind: string): ParityReport {
    const left = [...this.fixture.tensors.keys()].filter((name) => !this.seen.has(name));
    if (left.length > 0) {
      const some = left.slice(0, 4).join(', ');
      this.notes.push(`${left.length} tensors not compared: ${some}${left.length > 4 ? ', …' : ''}`);
    }
    const ok = this.rows.length > 0 && this.rows.every((row) => row.ok);
    return { fixture: this.fixture.name, kind, rows: this.rows, notes: this.notes, ok };
  }
}

export function metadataNumber(fixture: Fixture, key: string): number | undefined {
  const text = fixture.metadata[key];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value)) {
    throw new SgpSamError('bad-file', `${fixture.name}: metadata '${key}' is '${text}', not a number`);
  }
  return value;
}

/** A metadata entry's JSON; `what` says in words what `is` accepts. */
export function metadataJson<T>(
  fixture: Fixture,
  key: string,
  what: string,
  is: (value: unknown) => value is T,
): T | undefined {
  const text = fixture.metadata[key];
  if (text === undefined) return undefined;
  const value = readJson(text, `${fixture.name}: metadata '${key}'`);
  if (is(value)) return value;
  throw new SgpSamError('bad-file', `${fixture.name}: metadata '${key}' is ${text}, not ${what}`);
}

const isIndices = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((v) => Number.isInteger(v));
export const isIndicesByName = (value: unknown): value is Record<string, number[]> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every(isIndices);
export const isCase = (value: unknown): value is { file: string; channel?: number | null } =>
  typeof value === 'object' && value !== null && 'file' in value && typeof value.file === 'string';

export const metadataIndices = (fixture: Fixture, key: string): number[] | undefined =>
  metadataJson(fixture, key, 'a list of whole numbers', isIndices);
