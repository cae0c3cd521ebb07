/** The files of a scan as they come: one, several, or a folder that was dropped; and which series of them is meant. */
import type { SeriesInfo } from '../session/segmenter.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import { make } from './page.js';

/** A scan's files; a folder's have their paths as names. */
export type ScanFiles = File | readonly File[];

/** What a person calls it. */
export const scanName = (files: ScanFiles): string => {
  if (files instanceof File) return files.name;
  const [first] = files;
  return first?.webkitRelativePath.split('/')[0] || first?.name || 'nothing';
};

/** A file's name without what tells its format. */
export const baseName = (name: string): string =>
  name.replace(/\.(nii(\.gz)?|nrrd|nhdr|mha|mhd|dcm|zip)$/i, '');

/** All files of a drop, those of folders too. */
export async function droppedFiles(items: DataTransferItemList): Promise<File[]> {
  // Before anything is awaited: the list is emptied then.
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const files = entries.length > 0 ? [] : [...items].flatMap((item) => item.getAsFile() ?? []);
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (entry.isFile) {
      files.push(
        await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)),
      );
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // A hundred at a time, until none is left.
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
        reader.readEntries(resolve, reject),
      );
      if (some.length === 0) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

/** The series to open; asked for where there are several that are no localisers. */
export async function seriesOf(
  segmenter: WorkerSegmenter,
  files: ScanFiles,
  work: object,
): Promise<number | undefined> {
  if (files instanceof File && !/\.(zip|dcm)$/i.test(files.name)) return undefined;
  const list = await segmenter.listSeries(files, work);
  const proper = list.filter(({ localiser }) => !localiser);
  return proper.length > 1 ? ask(list) : undefined;
}

/** A dialog of the series; closing it takes the first. */
function ask(list: readonly SeriesInfo[]): Promise<number> {
  const dialog = make('dialog', { id: 'series-dialog' });
  dialog.append(make('h2', {}, 'Which series?'));
  for (const { number, modality, description, dims } of list)
    dialog.append(
      make(
        'button',
        { type: 'button', value: String(number), onclick: () => dialog.close(String(number)) },
        `${number}: ${modality} ${description} ${dims.join(' × ')}`,
      ),
    );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(Number(dialog.returnValue) || 1);
    });
  });
}
