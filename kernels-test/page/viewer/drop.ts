/** Files and folders dropped on a page as a desktop does it: through the browser, which reads them from the disk. */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import type { ByteSource } from '../../../src/base/byte-source.js';
import { findBrowser } from '../../support/page.js';

export const inFirefox = findBrowser()?.kind === 'firefox';

/** Files, and what is in folders. */
const filesBelow = (path: string): string[] =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => filesBelow(join(path, name))) : [path];

/**
 * WebDriver has no drops from outside: in Firefox the page's own events carry the files, which come through a field. Folders are their
 * files then.
 */
async function dropByScript(page: Page, paths: readonly string[]): Promise<void> {
  await page.evaluate(() =>
    document.body.append(
      Object.assign(document.createElement('input'), { type: 'file', multiple: true, id: 'dropped' }),
    ),
  );
  await page.setInputFiles('#dropped', paths.flatMap(filesBelow));
  await page.evaluate(() => {
    const field = document.querySelector<HTMLInputElement>('#dropped')!;
    const dataTransfer = new DataTransfer();
    for (const file of field.files ?? []) dataTransfer.items.add(file);
    field.remove();
    const target = document.elementFromPoint(300, 300)!;
    for (const type of ['dragenter', 'dragover', 'drop'])
      target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
  });
}

export async function dropPaths(page: Page, paths: readonly string[]): Promise<void> {
  if (inFirefox) return dropByScript(page, paths);
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
