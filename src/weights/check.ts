import { SgpSamError } from '../errors.js';
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
