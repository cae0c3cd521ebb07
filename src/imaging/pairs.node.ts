/** Data sets that are lists of files: images and their label volumes, wherever they lie. */
import { basename, dirname, resolve } from 'node:path';
import { SgpSamError } from '../base/errors.js';
import { readText } from '../base/json.node.js';
import { caseName, type DatasetCase } from './dataset.js';
import { type Dataset, readDecathlon } from './dataset.node.js';

/** A data set of these cases, which says nothing of labels and channels. */
function datasetOfCases(name: string, cases: readonly DatasetCase[]): Dataset {
  return { name, folder: '', channels: [], labels: [], training: cases, validation: [], lonely: [] };
}

/** An image and its label volume as a data set of one case. */
export const pairOfFiles = (image: string, label: string): Dataset =>
  datasetOfCases('', [{ id: caseName(image), image, images: [image], label }]);

/** A list of pairs (.csv), or a data set's folder. */
export const readPairsOrFolder = (path: string): Promise<Dataset> =>
  /\.csv$/i.test(path) ? readPairs(path) : readDecathlon(path);

/**
 * Reads a list of pairs: a line `image,label` or `image,label,id` per case, paths from the list's folder; a first line that
 * says `image,label` is a heading. The id is the image's name if not given.
 * @throws SgpSamError `bad-file` naming the line: too few or too many fields, an id that occurs twice
 */
async function readPairs(path: string): Promise<Dataset> {
  const rows = readText(path)
    .split(/\r?\n/)
    .map((line, n) => ({ n: n + 1, fields: line.split(',').map((field) => field.trim()) }))
    .filter(({ n, fields }) => fields.join('') !== '' && !(n === 1 && /^image$/i.test(fields[0])));
  const folder = dirname(path);
  const seen = new Map<string, number>();
  const cases = rows.map(({ n, fields }): DatasetCase => {
    const [image = '', label = '', id = caseName(image)] = fields;
    const fail = (what: string, mend: string) =>
      new SgpSamError('bad-file', `${path}, line ${n}: ${what}`, mend);
    if (fields.length > 3 || image === '' || label === '')
      throw fail(
        'this is not image,label or image,label,id',
        'Write one pair a line, without commas in names.',
      );
    const other = seen.get(id);
    if (other !== undefined)
      throw fail(
        `case ${id} is in line ${other} already`,
        'Give each case a name of its own as third field.',
      );
    seen.set(id, n);
    const whole = resolve(folder, image);
    return { id, image: whole, images: [whole], label: resolve(folder, label) };
  });
  if (cases.length === 0)
    throw new SgpSamError('bad-file', `${path} lists no case`, 'Write image,label, one pair a line.');
  return datasetOfCases(basename(path), cases);
}
