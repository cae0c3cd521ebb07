/** The error for numbers that go wrong within a model, naming the stage that shows it first. */
import { SgpSamError } from '../base/errors.js';
import { findBeyond } from '../base/half.js';
import type { Program } from '../engine/graph/program.js';
import { SANE } from './sam-med3d.js';

/** What is wrong with the numbers that a program with every stage as an output has computed: the first stage that shows it. */
export async function firstInsane(traced: Program): Promise<SgpSamError> {
  let what = 'a stage in between';
  for (const name of traced.outputs) {
    const values = await traced.read(name);
    const bad = findBeyond(values, SANE);
    if (bad < 0) continue;
    what = `${name}: element ${bad} is ${values[bad]}`;
    break;
  }
  return insane(what);
}

/** That error. */
export const insane = (what: string): SgpSamError =>
  new SgpSamError(
    'non-finite',
    `the model's numbers go wrong: ${what}`,
    'Check the weights, and the volume for extreme values.',
  );
