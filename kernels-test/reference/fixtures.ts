/** The fixtures of SPEC D, read directly: a safetensors file is a length, a JSON header and raw values. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { check, sizeOf, type Tensor64, tensor64 } from './tensor.js';

/** A fixture's tensors, widened to float64, and its metadata as written. */
export interface Fixture {
  readonly metadata: Readonly<Record<string, string>>;
  readonly names: readonly string[];
  has(name: string): boolean;
  tensor(name: string): Tensor64;
}

/** Where `file` of the shared fixtures lies, or null (saying so) where this checkout has none. */
export function fixturePath(file: string): string | null {
  const at = path.resolve(process.cwd(), '..', 'shared', 'fixtures', file);
  if (existsSync(at)) return at;
  console.warn(`skipped: no fixture ${at}`);
  return null;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Reads a safetensors file of float32, int32 and uint8 tensors. */
export function readFixture(file: string): Fixture {
  const bytes = readFileSync(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = Number(view.getBigUint64(0, true));
  const header: Record<string, unknown> = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength));
  const { __metadata__: metadata = {}, ...rest } = header;
  const entries = rest as Record<string, Entry>;
  return {
    metadata: metadata as Record<string, string>,
    names: Object.keys(entries),
    has: (name) => name in entries,
    tensor(name) {
      const entry = entries[name];
      check(entry !== undefined, `no tensor ${name} in ${file}`);
      const x = tensor64(entry.shape);
      const from = 8 + headerLength + entry.data_offsets[0];
      for (let i = 0; i < sizeOf(entry.shape); i++) {
        if (entry.dtype === 'F32') x.data[i] = view.getFloat32(from + 4 * i, true);
        else if (entry.dtype === 'I32') x.data[i] = view.getInt32(from + 4 * i, true);
        else if (entry.dtype === 'U8') x.data[i] = view.getUint8(from + i);
        else throw new RangeError(`reference: ${name} is ${entry.dtype}`);
      }
      return x;
    },
  };
}

/**
 * Names and shapes of every parameter of a model, as its fixture's gradients have them (`grad.*`), with the
 * prompt encoder's Gaussian matrix, a buffer without one.
 */
export function shapesFromGradients(fixture: Fixture, out: number): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  for (const name of fixture.names) {
    if (name.startsWith('grad.')) shapes.set(name.slice('grad.'.length), fixture.tensor(name).shape);
  }
  shapes.set('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix', [3, out / 3]);
  return shapes;
}
