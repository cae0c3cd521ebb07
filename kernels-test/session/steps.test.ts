/**
 * A lesion's steps: undone, done again, taken from a mask or a box, stopped, and followed beyond the cube.
 *
 * @module-tag long
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changedBox, cropMask, gridOfCrop } from '../../src/imaging/crop.js';
import { roiFrame } from '../../src/imaging/roi-frame.js';
import type { Vec3 } from '../../src/imaging/types.js';
import { makePhantom } from '../../src/phantoms/phantom.js';
import { formulaWeights } from '../../src/sam/formula-weights.js';
import { Model } from '../../src/sam/model.js';
import { clickedPart, cutFaces } from '../../src/session/cubes.js';
import { History } from '../../src/session/history.js';
import { LesionSession } from '../../src/session/lesion-session.js';
import { testEngine } from '../support/run.js';

const head = makePhantom({ seed: 3, dims: [48, 56, 40], spacing: [3, 3, 3] });
const at = head.lesions[0].voxel;
const near: Vec3 = [at[0] + 2, at[1], at[2]];

async function withSession<R>(
  work: (session: LesionSession, model: Model) => Promise<R>,
  options: ConstructorParameters<typeof LesionSession>[2] = {},
): Promise<R> {
  const { source, config } = formulaWeights('formula:sgp-tiny');
  const model = await Model.load(await testEngine(), source, { config, budgetMs: 1 });
  try {
    return await work(new LesionSession(model, head.volume, options), model);
  } finally {
    model.dispose();
  }
}

describe('masks cropped to what they hold', () => {
  const masks = fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))
    .chain((dims) => {
      const mask = fc.array(fc.constantFrom(0, 0, 0, 1), {
        minLength: dims[0] * dims[1] * dims[2],
        maxLength: dims[0] * dims[1] * dims[2],
      });
      return fc.record({ dims: fc.constant(dims), a: mask, b: mask });
    });

  it('there and back is the same, and the changed box is where two differ', () => {
    fc.assert(
      fc.property(masks, ({ dims, a, b }) => {
        const [x, y] = [cropMask(a, dims), cropMask(b, dims)];
        expect([...gridOfCrop(x)]).toEqual(a);
        const box = changedBox(x, y);
        const differing = a.flatMap((v, n) => (v === b[n] ? [] : [n]));
        const of = (n: number) => [
          n % dims[0],
          Math.floor(n / dims[0]) % dims[1],
          Math.floor(n / (dims[0] * dims[1])),
        ];
        if (differing.length === 0) {
          expect(box).toBeUndefined();
          return;
        }
        for (const axis of [0, 1, 2]) {
          const own = differing.map((n) => of(n)[axis]);
          expect(box!.min[axis]).toBe(Math.min(...own));
          expect(box!.max[axis]).toBe(Math.max(...own));
        }
      }),
    );
  });

  it('a mask of another size is refused', () => {
    expect(() => cropMask(new Uint8Array(7), [2, 2, 2])).toThrow(/7 voxels does not fit 2 × 2 × 2/);
  });
});

it('history: undo, redo, and a new step forgets what was undone', () => {
  const history = new History<number>();
  history.undo();
  history.redo();
  expect(history.current).toBeUndefined();
  history.push(1);
  history.push(2);
  history.undo();
  expect([history.current, history.canRedo]).toEqual([1, true]);
  history.redo();
  history.redo();
  expect([history.current, history.count, history.canRedo]).toEqual([2, 2, false]);
  history.undo();
  history.push(3);
  expect([history.done, history.canRedo]).toEqual([[1, 3], false]);
});

describe('steps', () => {
  it('undo and redo bring back masks, and a click after an undo is as if the other had not been', async () => {
    await withSession(async (session) => {
      const first = await session.addClick({ at, label: 1 });
      const second = await session.addClick({ at: near, label: 0 });
      expect(second.changed).toEqual(changedBox(first.crop, second.crop));
      const back = await session.undo();
      expect(back.mask).toEqual(first.mask);
      expect([back.canUndo, back.canRedo, back.clicks.length]).toEqual([true, true, 1]);
      expect(back.changed).toEqual(second.changed);
      expect((await session.redo()).mask).toEqual(second.mask);
      await session.undo();
      const nothing = await session.undo();
      expect([nothing.voxels, nothing.box, nothing.canUndo, nothing.canRedo]).toEqual([
        0,
        undefined,
        false,
        true,
      ]);
      expect(nothing.changed).toEqual(first.box);
      expect((await session.undo()).changed).toBeUndefined();
      await session.redo();
      const again = await session.addClick({ at: near, label: 0 });
      expect(again.mask).toEqual(second.mask);
      // The same embedding: nothing was encoded for it.
      expect([again.encodes, again.timings.encode]).toEqual([0, 0]);
      expect(again.canRedo).toBe(false);
      expect((await session.reset()).voxels).toBe(0);
      expect((await session.addClick({ at, label: 1 })).mask).toEqual(first.mask);
    });
  });

  it('a box is a click at its centre', async () => {
    const click = await withSession((s) => s.addClick({ at, label: 1 }));
    const box = await withSession((s) =>
      s.addBox({ min: [at[0] - 2, at[1] - 3, at[2] - 1], max: [at[0] + 2, at[1] + 3, at[2] + 1] }),
    );
    expect(box.mask).toEqual(click.mask);
  });

  it('a mask is shown as it is, and the next click, of either label, refines it', async () => {
    await withSession(async (session) => {
      const mask = new Uint8Array(head.volume.data.length);
      const index = at[0] + 48 * (at[1] + 56 * at[2]);
      for (const d of [0, 1, 48, 49, 48 * 56]) mask[index + d] = 1;
      const state = await session.setMask(mask);
      expect([state.voxels, state.clicks]).toEqual([5, []]);
      expect(state.mask).toEqual(mask);
      const plain = await withSession((s) => s.addClick({ at, label: 1 }));
      const refined = await session.addClick({ at, label: 1 });
      // The prompt matters: it is not the mask that the click gives alone.
      expect(refined.mask).not.toEqual(plain.mask);
      expect((await session.undo()).mask).toEqual(mask);
      await session.addClick({ at: near, label: 0 });
      await expect(session.setMask(new Uint8Array(3))).rejects.toMatchObject({ code: 'bad-argument' });
    });
  });

  it('the same steps with other gates, and the session as it was', async () => {
    await withSession(
      async (session) => {
        await session.addClick({ at, label: 1 });
        const own = await session.addClick({ at: near, label: 0 });
        const closed = await session.preview(['closed', 'closed']);
        const auto = await session.preview(['auto', 'auto']);
        expect(auto.mask).toEqual(own.mask);
        expect(closed.mask).not.toEqual(own.mask);
        expect((await session.state()).mask).toEqual(own.mask);
        expect((await session.addClick({ at, label: 1 })).gates.map((g) => g.openChannels[0])).toEqual(
          own.gates.map((g) => g.openChannels[0]),
        );
      },
      { gates: ['auto', 'auto'] },
    );
  });

  it('a preview leaves the model’s gates alone, for a session that has none set too', async () => {
    await withSession(async (session, model) => {
      const own = await session.addClick({ at, label: 1 });
      model.setGate(0, 'open');
      await session.preview(['closed', 'closed']);
      expect(model.gates).toEqual(['open', 'auto']);
      const next = await session.addClick({ at: near, label: 0 });
      expect(next.gates[0].openChannels[0]).toBe(next.gates[0].channels);
      expect(next.gates[1].openChannels[0]).toBeGreaterThan(0);
      expect(own.gates[0].openChannels[0]).toBeLessThan(own.gates[0].channels);
    });
  });

  it('computed again with other gates, undone steps too; stopped, it is as it was', async () => {
    await withSession(
      async (session) => {
        await session.addClick({ at, label: 1 });
        await session.addClick({ at: near, label: 0 });
        const before = await session.undo();
        session.setGates(['closed', 'closed']);
        const controller = new AbortController();
        const progress = () => controller.abort();
        await expect(session.recompute({ signal: controller.signal, progress })).rejects.toMatchObject({
          code: 'aborted',
        });
        const kept = await session.state();
        expect([kept.mask, kept.canRedo]).toEqual([before.mask, true]);
        const closed = await session.recompute();
        expect(closed.mask).not.toEqual(before.mask);
        expect(closed.changed).toEqual(changedBox(before.crop, closed.crop));
        expect([closed.clicks.length, closed.canUndo, closed.canRedo]).toEqual([1, true, true]);
        const both = await session.redo();
        expect(both.clicks).toHaveLength(2);
        const fresh = await withSession(
          async (s) => {
            await s.addClick({ at, label: 1 });
            return s.addClick({ at: near, label: 0 });
          },
          { gates: ['closed', 'closed'] },
        );
        expect(both.mask).toEqual(fresh.mask);
      },
      { gates: ['auto', 'auto'] },
    );
  });

  it('masks and labels from elsewhere are checked', async () => {
    await withSession(async (session) => {
      const { dims } = head.volume;
      const mask = (box: unknown, values: number[]) =>
        session.setMask({ dims, box, values: new Uint8Array(values) } as Parameters<
          typeof session.setMask
        >[0]);
      const bad = { code: 'bad-argument' };
      await expect(mask({ min: [0, 0, 0], max: [1, 1, 1] }, [255])).rejects.toMatchObject(bad);
      await expect(mask({ min: [0, 0, 0], max: [99, 0, 0] }, Array(100).fill(1))).rejects.toMatchObject(bad);
      await expect(mask({ min: [0.5, 0, 0], max: [1, 0, 0] }, [1, 1])).rejects.toMatchObject(bad);
      const state = await mask({ min: [3, 4, 5], max: [5, 4, 5] }, [0, 255, 0]);
      expect([state.voxels, state.box]).toEqual([1, { min: [4, 4, 5], max: [4, 4, 5] }]);
      const label = 7 as 0 | 1;
      await expect(session.addClick({ at, label })).rejects.toMatchObject({ code: 'bad-prompt' });
    });
  });

  it('stopped: an error, and the session as it was', async () => {
    await withSession(async (session) => {
      const controller = new AbortController();
      const progress: number[] = [];
      const stopped = session.addClick(
        { at, label: 1 },
        {
          signal: controller.signal,
          progress: ({ done }) => {
            progress.push(done);
            controller.abort();
          },
        },
      );
      await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
      expect(progress.length).toBe(1);
      expect((await session.state()).canUndo).toBe(false);
      expect((await session.addClick({ at, label: 1 })).canUndo).toBe(true);
    });
  });
});

describe('what a mask is in its cube', () => {
  const size = 32;
  const frame = (centre: Vec3) => roiFrame(head.volume, centre, { size });
  /** A patch of 8 × 8 voxels on a plane, away from the other faces. */
  const patch = (axis: number, plane: number) =>
    Float32Array.from({ length: size ** 3 }, (_, n) => {
      const voxel = [Math.floor(n / size ** 2), Math.floor(n / size) % size, n % size];
      return voxel.every((c, a) => (a === axis ? c === plane : c >= 12 && c < 20)) ? 1 : -1;
    });

  it('a mask on a face of the cube is cut there, unless the volume ends there, and the face has a name', () => {
    const inside = frame([24, 28, 20]);
    const corner = frame([0, 0, 0]);
    const names = [
      ['left', 'right'],
      ['posterior', 'anterior'],
      ['inferior', 'superior'],
    ] as const;
    for (const axis of [0, 1, 2]) {
      expect(cutFaces(inside, patch(axis, 0))).toEqual([names[axis][0]]);
      expect(cutFaces(inside, patch(axis, size - 1))).toEqual([names[axis][1]]);
      expect(cutFaces(inside, patch(axis, 1))).toEqual([]);
      // At the volume's corner the cube leaves it on one side of each axis.
      const sides = [0, size - 1].map((plane) => cutFaces(corner, patch(axis, plane)).length);
      expect(sides.filter(Boolean)).toHaveLength(1);
    }
  });

  it('faces have the world’s names however a cube’s axes run', () => {
    const affine = Float64Array.from([0, -1, 0, 0, 0, 0, 2, 0, -3, 0, 0, 0, 0, 0, 0, 1]);
    const turned = { ...frame([24, 28, 20]), affine };
    expect(cutFaces(turned, patch(0, 0))).toEqual(['superior']);
    expect(cutFaces(turned, patch(1, size - 1))).toEqual(['left']);
    expect(cutFaces(turned, patch(2, 0))).toEqual(['posterior']);
  });

  it('the part of the clicks counts, and all of the mask where they are in none', () => {
    const one = frame([24, 28, 20]);
    const other = patch(2, 16);
    const both = patch(0, 3).map((v, n) => Math.max(v, other[n]));
    const toSource = (voxel: Vec3): Vec3 =>
      [0, 1, 2].map((source) => {
        const a = one.axes.findIndex((axis) => axis.source === source);
        return (voxel[a] - one.sourceToRoi[4 * a + 3]) / one.sourceToRoi[4 * a + source];
      }) as unknown as Vec3;
    const first = clickedPart(one, both, [toSource([3, 15, 15])]);
    expect([first.extent, first.holdsClicks, first.mask.reduce((a, b) => a + b, 0)]).toEqual([
      8 / size,
      true,
      64,
    ]);
    const two = clickedPart(one, both, [toSource([3, 15, 15]), toSource([15, 15, 16])]);
    expect([two.extent, two.holdsClicks]).toEqual([17 / size, true]);
    const beside = clickedPart(one, both, [toSource([8, 8, 8])]);
    expect([beside.extent, beside.holdsClicks]).toEqual([17 / size, false]);
    const empty = clickedPart(one, both.fill(-1), [toSource([8, 8, 8])]);
    expect([empty.extent, empty.holdsClicks]).toEqual([0, false]);
  });
});

describe('zoom', () => {
  const far: Vec3 = [at[0] > 24 ? 4 : 44, 28, 20];

  it('off: one cube at the preset’s spacing, and clicks outside are errors', async () => {
    await withSession(async (session) => {
      const first = await session.addClick({ at, label: 1 });
      expect([first.encodes, first.roi.preset.spacing]).toEqual([1, 1.5]);
      expect(first.zoom).toMatchObject({ setting: 'off', spacing: 1.5, why: { code: 'off' } });
      expect(first.zoom.tried).toHaveLength(1);
      await expect(session.addClick({ at: far, label: 1 })).rejects.toMatchObject({ code: 'bad-prompt' });
    });
  });

  it('millimetres: one cube of such voxels, which moves to hold clicks, or says that it cannot', async () => {
    const wide = async (session: LesionSession) => {
      const first = await session.addClick({ at, label: 1 });
      const second = await session.addClick({ at: far, label: 1 });
      return [first, second];
    };
    const [first, second] = await withSession(wide, { zoom: 2.5 });
    expect([first.encodes, second.encodes]).toEqual([1, 1]);
    expect([first.zoom.spacing, second.zoom.spacing]).toEqual([2.5, 2.5]);
    expect(second.zoom.why.code).toBe('fixed');
    expect(second.roi.begin).not.toEqual(first.roi.begin);
    await expect(withSession(wide, { zoom: 0.5 })).rejects.toMatchObject({ code: 'bad-prompt' });
    for (const zoom of ['on', 0, Number.NaN, 1000])
      await expect(withSession(wide, { zoom: zoom as number })).rejects.toMatchObject({
        code: 'bad-argument',
      });
  });

  it('auto: looks for the scale in four encodes at most, says what it tried, and follows far clicks', async () => {
    await withSession(
      async (session) => {
        const first = await session.addClick({ at, label: 1 });
        const { tried, spacing } = first.zoom;
        expect(tried.length).toBeLessThanOrEqual(4);
        expect(first.encodes).toBe(tried.length);
        expect(tried.map((one) => one.spacing)).toContain(spacing);
        expect(first.roi.preset.spacing).toBe(spacing);
        const near2 = await session.addClick({ at: near, label: 0 });
        expect(near2.zoom.tried[0].spacing).toBe(spacing);
        const second = await session.addClick({ at: far, label: 1 });
        expect(second.clicks).toHaveLength(3);
        expect(second.zoom.spacing).toBeGreaterThanOrEqual(spacing);
      },
      { zoom: 'auto' },
    );
  });

  it('the card of the weights decides where nothing is said', async () => {
    await withSession(async (_, model) => {
      model.card = { ...model.card, zoom: 'auto' };
      const own = await new LesionSession(model, head.volume).addClick({ at, label: 1 });
      expect(own.zoom.setting).toBe('auto');
      const off = await new LesionSession(model, head.volume, { zoom: 'off' }).addClick({ at, label: 1 });
      expect(off.zoom.setting).toBe('off');
    });
  });
});
