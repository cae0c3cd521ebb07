/** Work in a queue neither overlaps nor ends with what failed before it. */
import { expect, test } from 'vitest';
import { Queue } from '../../src/base/queue.js';

const later = () => new Promise<void>((resolve) => setTimeout(resolve, 1));

test('work is done in turn, never two pieces at once, and each call has its own result', async () => {
  const queue = new Queue();
  const log: string[] = [];
  const piece = (name: string) => async () => {
    log.push(`${name} begins`);
    await later();
    log.push(`${name} ends`);
    return name;
  };
  const results = [queue.run(piece('a')), queue.run(() => 'plain'), queue.run(piece('b'))];
  expect(log).toEqual([]); // not before the caller has gone on
  expect(await Promise.all(results)).toEqual(['a', 'plain', 'b']);
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});

test('an error is its own call’s alone, thrown or rejected', async () => {
  const queue = new Queue();
  const thrown = queue.run(() => {
    throw new Error('thrown');
  });
  const rejected = queue.run(async () => {
    await later();
    throw new Error('rejected');
  });
  const after = queue.run(() => 1);
  await expect(thrown).rejects.toThrow('thrown');
  await expect(rejected).rejects.toThrow('rejected');
  expect(await after).toBe(1);
});

test('idle waits for what was asked for before it, failures included, and not for what comes later', async () => {
  const queue = new Queue();
  let done = 0;
  const first = queue.run(async () => {
    await later();
    done++;
    throw new Error('first');
  });
  const idle = queue.idle();
  let release = () => {};
  const second = queue.run(() => new Promise<void>((resolve) => (release = resolve)));
  await idle;
  expect(done).toBe(1);
  await expect(first).rejects.toThrow('first');
  await later();
  release();
  await second;
  await queue.idle();
});

test('is quiet only when what was asked for meanwhile is over too', async () => {
  const queue = new Queue();
  const done: string[] = [];
  void queue.run(async () => {
    void queue.run(() => void done.push('second'));
    done.push('first');
  });
  await queue.quiet();
  expect(done).toEqual(['first', 'second']);
});
