/** Files and folders dropped on a page as a desktop does it: through the browser, which reads them from the disk. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import type { ByteSource } from '../../../src/base/byte-source.js';

export async function dropPaths(page: Page, paths: readonly string[]): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: paths.map((path) => resolve(path)), dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
    await devtools.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data });
  await devtools.detach();
}

/** Writes files below a folder, under their names from the first folder of those on. */
export async function writeFiles(folder: string, files: readonly ByteSource[]): Promise<string> {
  for (const file of files) {
    const path = join(folder, file.name.replace(/^[^/]*\//, ''));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, await file.read(0, file.size));
  }
  return folder;
}
