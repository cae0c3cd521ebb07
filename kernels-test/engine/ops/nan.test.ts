/** What is no number stays none: a NaN in an operand is in the result wherever the float64 reference has it. */
import { describe, expect, it } from 'vitest';
import { tensor64 } from '../../reference/index.js';
import { runGraph } from '../../support/run.js';
import { place } from '../autograd/support.js';
import { cases } from './cases.js';

/** Of padded tokens, where there are any; the reference multiplies it by 0 where there are none. */
const unused = 'window_attention qkvBias';
const covered = [...new Set(cases.map((c) => c.op))];

describe.each(covered)('NaN through %s', (op) => {
  it.each(cases.filter((c) => c.op === op))('$name', async ({ operands, build, reference, force }) => {
    for (const [name, { value, fixed }] of Object.entries(operands)) {
      if (fixed || `${op} ${name}` === unused) continue;
      const data = value.data.slice();
      data[data.length >> 1] = Number.NaN;
      const given = { ...operands, [name]: { ...operands[name], value: tensor64(value.shape, data) } };
      const { outputs } = await runGraph(
        (b) => b.graph.output('y', build(b.graph, place(b, given))),
        force ? { capabilities: { force } } : {},
      );
      const want = reference(Object.fromEntries(Object.entries(given).map(([key, o]) => [key, o.value])));
      const where = (values: ArrayLike<number>) => Array.from(values, Number.isNaN).map(Number);
      const lost = where(want.data).filter((is, i) => is && !Number.isNaN(outputs.y[i])).length;
      expect(lost, `NaN in ${name}: values that should be NaN and are not`).toBe(0);
    }
  });
});
