/** The files of a scan as they come: one, several, or a folder that was dropped; and which series of them is meant. */
import type { FilesInput, SeriesInfo } from '../session/segmenter.js';
import { make } from './page.js';
import { listSeries } from './preview.js';
import type { Work } from './tasks.js';

/** A scan's files. */
export type ScanFiles = File | readonly File[];

/** Of files in a folder that was dropped: browsers know the path of chosen folders' files alone. */
const paths = new WeakMap<File, string>();

export const setPath = (file: File, path: string): void => {
  paths.set(file, path);
};

/** From the folder that was dropped or chosen on, that one included; otherwise the name. */
const pathOf = (file: File): string => paths.get(file) || file.webkitRelativePath || file.name;

/** What a person calls it. */
export const scanName = (files: ScanFiles): string => {
  if (files instanceof File) return files.name;
  const [first] = files;
  return first ? (pathOf(first).split('/')[0] ?? first.name) : 'nothing';
};

/** A file's name without what tells its format. */
export const baseName = (name: string): string =>
  name.replace(/\.(nii(\.gz)?|nrrd|nhdr|mha|mhd|dcm|zip)$/i, '');

/** As workers take them: a file loses its name on the way in some browsers. */
export const sendable = (files: ScanFiles): FilesInput =>
  files instanceof File ? files : files.map((file) => ({ name: pathOf(file), data: file }));

/** The series to open; asked for where there are several that are no localisers. */
export async function seriesOf(files: ScanFiles, work: Partial<Work>): Promise<number | undefined> {
  if (files instanceof File && !/\.(zip|dcm)$/i.test(files.name)) return undefined;
  const list = await listSeries(files, work);
  const proper = list.filter(({ localiser }) => !localiser);
  return proper.length > 1 ? ask(list) : undefined;
}

/** A dialog of the series; closing it takes the first. */
function ask(list: readonly SeriesInfo[]): Promise<number> {
  const dialog = make('dialog', { id: 'series-dialog', className: 'text' });
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
