/** A lesion's chain of undo, on lesions that only write down what they were asked. */
import { expect, it } from 'vitest';
import type { Vec3 } from '../../src/imaging/types.js';
import type { Action } from '../../src/session/lesion-state.js';
import type { Lesion } from '../../src/session/segmenter.js';
import { Chain, type LesionSource, type Shown } from '../../src/viewer/chain.js';

const click = (n: number): Action => ({ type: 'click', click: { at: [n, 0, 0] as Vec3, label: 1 } });
const work = { signal: new AbortController().signal, progress: () => {} };
const placesOf = (actions: readonly Action[]) =>
  actions.map((one) => (one.type === 'click' ? one.click.at[0] : one.type));

/** Lesions whose mask is the list of their clicks; a click at 13 fails. */
function source() {
  const made: { channel: number; done: Action[]; undone: Action[]; asked: number }[] = [];
  const of: LesionSource = {
    recovering: (_, act) => act(),
    forget: () => {},
    lesion: async (channel) => {
      const own = { channel, done: [] as Action[], undone: [] as Action[], asked: 0 };
      made.push(own);
      const state = async () =>
        ({
          crop: { box: { min: [0, 0, 0], max: [0, 0, 0] }, clicks: placesOf(own.done) },
        }) as unknown as Shown;
      return {
        state,
        async apply(action: Action) {
          own.asked++;
          own.undone = [];
          if (action.type === 'click' && action.click.at[0] === 13) throw new Error('no');
          own.done.push(action);
          return state();
        },
        async undo() {
          own.undone.push(own.done.pop()!);
          return state();
        },
        async redo() {
          own.done.push(own.undone.pop()!);
          return state();
        },
      } as unknown as Lesion;
    },
  };
  return { of, made };
}

const shown = (chain: Chain) => (chain.state as unknown as { crop: { clicks: unknown[] } }).crop.clicks;

it('a step of several actions is undone and done again as one, without asking the model', async () => {
  const { of, made } = source();
  const chain = new Chain(of, 0);
  await chain.do([click(1)], 0, work);
  await chain.do([click(2), click(3)], 0, work);
  await chain.undo(work);
  expect([shown(chain), chain.canUndo, chain.canRedo]).toEqual([[1], true, true]);
  await chain.redo(work);
  expect([shown(chain), made[0].asked]).toEqual([[1, 2, 3], 3]);
});

it('a step that fails half-way leaves everything as it was, what was undone too', async () => {
  const { of } = source();
  const chain = new Chain(of, 0);
  await chain.do([click(1)], 0, work);
  await chain.do([click(2)], 0, work);
  await chain.undo(work);
  await expect(chain.do([click(3), click(13)], 0, work)).rejects.toThrow('no');
  expect([placesOf(chain.actions), chain.canRedo]).toEqual([[1], true]);
  await chain.redo(work);
  expect(shown(chain)).toEqual([1, 2]);
});

it('changing a step in the middle does again what came after it, and undo goes back to what was', async () => {
  const { of, made } = source();
  const chain = new Chain(of, 0);
  const steps = [[click(1)], [click(2)], [click(3)]];
  for (const step of steps) await chain.do(step, 0, work);
  await chain.change([steps[0], [click(9)], steps[2]], work);
  expect([shown(chain), made.length]).toEqual([[1, 9, 3], 1]);
  await chain.undo(work);
  expect(shown(chain)).toEqual([1, 2, 3]);
  await chain.redo(work);
  expect(shown(chain)).toEqual([1, 9, 3]);
  // Back once more, and on from there: another lesion does the old steps.
  await chain.undo(work);
  await chain.do([click(4)], 0, work);
  expect([shown(chain), made.length, chain.canRedo]).toEqual([[1, 2, 3, 4], 2, false]);
});

it('another channel begins with the mask, and undo goes back to the first', async () => {
  const { of, made } = source();
  const chain = new Chain(of, 0);
  await chain.do([click(1)], 0, work);
  await chain.do([click(2)], 1, work);
  expect([made[1].channel, shown(chain), chain.channel]).toEqual([1, ['mask', 2], 1]);
  await chain.undo(work);
  expect([shown(chain), chain.channel]).toEqual([[1], 0]);
});

it('steps that came with a state are done only when they are needed', async () => {
  const { of, made } = source();
  const state = { crop: { box: undefined, clicks: [1, 2] } } as unknown as Shown;
  const chain = new Chain(of, 0, [[click(1)], [click(2)]], state);
  expect([made.length, shown(chain)]).toEqual([0, [1, 2]]);
  await chain.undo(work);
  expect([made.length, shown(chain)]).toEqual([1, [1]]);
  await chain.redo(work);
  expect(shown(chain)).toEqual([1, 2]);
});
