/** What can go wrong between opening a device and the end of a process. */
import { expect, test } from 'vitest';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';
import { runChild } from '../support/child.js';
import { testAdapter } from '../support/gpu.js';

const bundled = swiftShaderPackage() !== undefined;

/**
 * Dawn polls an instance once more after its last promise was settled. An error found right after a device was
 * opened disposes of it before that: the instance must not be collected meanwhile.
 */
test.each([
  ['a device that was opened and disposed of', `(await openDevice({ adapter })).dispose();`],
  [
    'an adapter that was refused',
    `await openDevice({ adapter: 'hardware' }).then((gpu) => gpu.dispose(), () => {});`,
  ],
])('a garbage collection right after %s does no harm', async (_, source) => {
  const child = await runChild(
    `import { setFlagsFromString } from 'node:v8';
    import { runInNewContext } from 'node:vm';
    import { openDevice } from './src/engine/gpu/node/open.ts';
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const adapter = ${JSON.stringify(testAdapter())} as const;
    ${source}
    collect();
    await new Promise((done) => setTimeout(done, 50));
    console.log('well');`,
    { timeoutMs: 5_000 },
  );
  expect(child).toMatchObject({ code: 0, stdout: 'well\n' });
});

test.skipIf(!bundled)('a process ends when its device is disposed of at once', async () => {
  const child = await runChild(
    `import { openDevice } from './src/engine/gpu/node/open.ts';
    (await openDevice({ adapter: 'swiftshader' })).dispose();`,
    { timeoutMs: 15_000 },
  );
  expect(child).toMatchObject({ code: 0 });
});
