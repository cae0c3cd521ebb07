/** The suites of vitest.config.ts: every test file is in one of them, and without a device is without a device. */
import { describe, expect, test } from 'vitest';
import config from '../vitest.config.js';
import { SUITES, suiteOf, testFiles } from './support/suites.js';

interface Project {
  readonly test: { readonly name: string; readonly include: readonly string[] };
}
const projects = config.test?.projects as unknown as readonly Project[];

describe('the suites', () => {
  test('are the projects, in the order in which they run', () => {
    expect(projects.map((project) => project.test.name)).toEqual([...SUITES]);
  });

  test('hold every test file once', () => {
    const files = projects.flatMap((project) => project.test.include);
    expect(files.toSorted()).toEqual(testFiles());
    expect(new Set(files).size).toBe(files.length);
    for (const project of projects) expect(project.test.include.length).toBeGreaterThan(10);
  });

  test.each([
    ['kernels-test/weights/pth.test.ts', 'pure'],
    ['kernels-test/cli/progress.test.ts', 'pure'],
    ['kernels-test/engine/kernels/matmul.test.ts', 'gpu'],
    ['kernels-test/adapters/adapters.test.ts', 'gpu'],
    ['kernels-test/cli/train.test.ts', 'e2e'],
    ['kernels-test/adapters/page.test.ts', 'e2e'],
  ])('%s is in %s, by what it imports', (file, suite) => {
    expect(suiteOf(file)).toBe(suite);
  });

  test('pure opens no device: the package of WebGPU is not there', async () => {
    const { create } = await import('webgpu');
    expect(() => create([])).toThrow(/suite "pure" opened a device/);
    const { openDevice } = await import('../src/index.node.js');
    await expect(openDevice({ adapter: 'software', announce: () => {} })).rejects.toMatchObject({
      code: 'no-adapter',
    });
  });
});
