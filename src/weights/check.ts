import { SgpSamError } from '../base/errors.js';
import { findBeyond } from '../base/half.js';
import type { WeightSource } from './weight-source.js';

/** How many names of each kind a message lists. */
const LISTED = 10;

export interface CheckOptions {
  /** Tensors the model does not use but that may be in the file. */
  readonly allowLeftOver?: (name: string) => boolean;
}

/**
 * Checks that a source holds exactly the tensors a model expects, in their shapes.
 * @param expected shape by tensor name.
 * @throws SgpSamError `bad-weights`, one for everything: missing, left-over and misshaped tensors.
 */
export function checkTensors(
  source: Pick<WeightSource, 'name' | 'tensors'>,
  expected: ReadonlyMap<string, readonly number[]>,
  options: CheckOptions = {},
): void {
  const missing: string[] = [];
  const misshaped: string[] = [];
  for (const [name, shape] of expected) {
    const found = source.tensors.get(name)?.shape;
    if (found === undefined) missing.push(name);
    else if (!sameShape(found, shape)) misshaped.push(`${name} is ${show(found)}, not ${show(shape)}`);
  }
  const leftOver = [...source.tensors.keys()].filter(
    (name) => !expected.has(name) && !options.allowLeftOver?.(name),
  );
  const lines = [list('missing', missing), list('left over', leftOver), list('of another shape', misshaped)];
  const problems = lines.filter((line) => line !== '');
  if (problems.length === 0) return;
  throw new SgpSamError(
    'bad-weights',
    `${source.name}: the tensors do not fit the model\n${problems.join('\n')}`,
    'Check that the configuration (vit_b_ori, tiny, SGP sites and width ...) is the one these weights were made for.',
  );
}

/** No trained parameter of a network that normalises as this one does comes near it; and one wrong bit of an f16 goes beyond it. */
const MOST = 2 ** 12;

/**
 * How a model reads its parameters: as float32, each looked at for what can only be damage or a training run that went
 * wrong. Softmax, LayerNorm and thresholds make ordinary numbers of some of those, so nothing later need notice.
 * @returns a reader that throws SgpSamError `non-finite`, naming file, tensor and element, for NaN, ±∞ and magnitudes over 2¹²
 */
export function saneReader(
  source: Pick<WeightSource, 'name' | 'readF32'>,
): (name: string) => Promise<Float32Array<ArrayBuffer>> {
  return async (name) => {
    const values = await source.readF32(name);
    const bad = findBeyond(values, MOST);
    if (bad < 0) return values;
    throw new SgpSamError(
      'non-finite',
      `${source.name}: tensor '${name}': element ${bad} is ${values[bad]}`,
      'The file is damaged, or its training went wrong: fetch it again, or take an earlier checkpoint.',
    );
  };
}

function list(kind: string, items: readonly string[]): string {
  if (items.length === 0) return '';
  const more = items.length > LISTED ? `, and ${items.length - LISTED} more` : '';
  return `  ${items.length} ${kind}: ${items.slice(0, LISTED).join(', ')}${more}`;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, i) => length === b[i]);
}

function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
