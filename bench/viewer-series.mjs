/**
 * A folder of DICOM slices dropped into the viewer, in headless Chromium, whose WebGPU and WebGL are SwiftShader's:
 *   node bench/dicom-series.mjs FOLDER           writes 600 slices of 512 × 512 and prints the voxel of a lesion
 *   node bench/viewer-series.mjs FOLDER I,J,K [ready|loading]
 * `ready`: it is dropped once the weights are ready; `loading`: at once, while they load and compile. Prints seconds from the drop to
 * the first word of progress, to the scan in sight, until it can be clicked, and from the click to its mask; what was said of
 * progress meanwhile; the longest time for which the page did not answer; and the most memory: of all of the browser's processes
 * (PSS: what they share is counted once), before the drop and at most, and the page's JavaScript heap.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { load } from '../tools/load.mjs';

const [folder, voxel, when = 'ready'] = process.argv.slice(2);
if (!folder || !/^\d+,\d+,\d+$/.test(voxel ?? '') || !['ready', 'loading'].includes(when))
  throw new Error('node bench/viewer-series.mjs FOLDER I,J,K [ready|loading]');
const { openPage } = await load('kernels-test/support/page.ts');

const MIB = 2 ** 20;
const fieldOf = (path, name) => {
  try {
    return Number(new RegExp(`^${name}:?\\s+(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
};
/** Bytes of this process's descendants. */
function treeBytes() {
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => [Number(pid), fieldOf(`/proc/${pid}/status`, 'PPid')]),
  );
  const below = (pid) => pid === process.pid || (parents.has(pid) && below(parents.get(pid)));
  return [...parents.keys()]
    .filter((pid) => pid !== process.pid && below(pid))
    .reduce((sum, pid) => sum + fieldOf(`/proc/${pid}/smaps_rollup`, 'Pss') * 1024, 0);
}

const { page, close } = await openPage({
  serve: { '/': 'dist/viewer' },
  args: ['--use-gl=angle', '--use-angle=swiftshader'],
});
try {
  page.setDefaultTimeout(600_000);
  const status = (text) =>
    page.waitForFunction(
      `!document.body.hasAttribute('aria-busy') && document.querySelector('#status').textContent.includes('${text}')`,
    );
  if (when === 'ready') await status('is ready');
  // What the page says and how long it does not answer, as a person sees it.
  await page.evaluate(() => {
    const seen = { at: [], longest: 0, heap: 0 };
    Object.assign(globalThis, { seen });
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      seen.longest = Math.max(seen.longest, now - last);
      last = now;
      seen.heap = Math.max(seen.heap, performance.memory?.usedJSHeapSize ?? 0);
      const text = ['#work-name', '#reading']
        .map((id) => document.querySelector(id))
        .filter((one) => one?.checkVisibility())
        .map((one) => one.textContent);
      const bar = document.querySelector('#progress');
      if (bar?.checkVisibility())
        text.push(bar.hasAttribute('value') ? `${Math.round(bar.position * 100)}%` : '…');
      const said = text.join(' | ');
      if (said && seen.at.at(-1)?.said !== said) seen.at.push({ t: now, said });
    }, 50);
  });
  const before = treeBytes();
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, treeBytes());
  }, 500);
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: [resolve(folder)], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver'])
    await devtools.send('Input.dispatchDragEvent', { type, x: 400, y: 300, data });
  const dropped = await page.evaluate('performance.now()');
  await devtools.send('Input.dispatchDragEvent', { type: 'drop', x: 400, y: 300, data });
  await page.waitForFunction("performance.getEntriesByName('scan-shown').length > 0");
  const shown = (await page.evaluate("performance.getEntriesByName('scan-shown')[0].startTime")) - dropped;
  await status('Click a lesion');
  const ready = (await page.evaluate('performance.now()')) - dropped;
  const opening = peak;
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const { at, longest } = await page.evaluate('seen');
  await page.fill('#voxel', voxel);
  const clicked = await page.evaluate('performance.now()');
  await page.click('#add');
  await status('Added at');
  const mask = (await page.evaluate('performance.now()')) - clicked;
  clearInterval(sampling);
  const { heap } = await page.evaluate('seen');
  const during = at.filter(({ t }) => t >= dropped && t <= dropped + ready);
  console.log(
    [
      `${when}: first progress after ${seconds((during[0]?.t ?? Number.NaN) - dropped)}, in sight after ${seconds(shown)}, ready for a click after ${seconds(ready)}`,
      `click to mask ${seconds(mask)}: ${await page.textContent('#status')}`,
      `the page did not answer for ${seconds(longest)} at most`,
      `browser ${Math.round(before / MIB)} MiB before, at most ${Math.round(opening / MIB)} MiB while opening, ${Math.round(peak / MIB)} MiB in all; the page's heap ${Math.round(heap / MIB)} MiB`,
      `said: ${during
        .map(({ t, said }) => `${seconds(t - dropped)} ${said}`)
        .filter((_, n, all) => n % Math.ceil(all.length / 16) === 0)
        .join('; ')}`,
    ].join('\n'),
  );
} finally {
  await close();
}
