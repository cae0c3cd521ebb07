/** What masks make of scores: very low ones, and −∞, are no NaN. */
import { expect, it } from 'vitest';
import { softmax } from '../../../src/engine/ops/index.js';
import { maxAbs, randomTensor, softmax as reference } from '../../reference/index.js';
import { runGraph } from '../../support/run.js';

it.each(['row-per-invocation', 'row-per-workgroup'])('masked scores, %s', async (variant) => {
  for (const masked of [-1e9, -1e30, Number.NEGATIVE_INFINITY]) {
    for (const columns of [12, 130, 7]) {
      const x = randomTensor([3, columns], columns);
      for (let i = 0; i < columns; i++) if (i % 12 !== 5) x.data[i] = masked;
      const { outputs } = await runGraph((b) => b.graph.output('y', softmax(b.input('x', x))), {
        capabilities: { force: { softmax: variant } },
      });
      expect(maxAbs(outputs.y, reference(x)), `${masked}, ${columns}`).toBeLessThan(1e-6);
    }
  }
});
