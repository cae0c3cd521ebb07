/** Masks of `segment` beside the one in NIfTI: DICOM segmentations that it writes, and masks that it begins with. */
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { ByteSource } from '../base/byte-source.js';
import { SgpSamError } from '../base/errors.js';
import { systemReason } from '../base/files.node.js';
import type { CroppedMask } from '../imaging/crop.js';
import { type Code, checkName, parseCode } from '../imaging/dicom-seg/codes.js';
import { isDicomName, readDicomSeg, referenceSeries, writeDicomSeg } from '../imaging/formats/dicom-seg.js';
import { fileOnDisk } from '../imaging/formats/files.node.js';
import { chooseMask, type NamedMask, readMasks } from '../imaging/formats/masks.js';
import { isSegNrrdName } from '../imaging/formats/open.js';
import type { Volume } from '../imaging/types.js';
import { openFile } from '../weights/file.node.js';
import { asIs, option, type Read, type Values } from './options.js';

const code: Read<Code> = (option, text) => parseCode(option, text);

export const maskTable = {
  mask: option(
    '<file>',
    'begin with a mask, which the points refine: a DICOM segmentation, a .seg.nrrd, or labels on the scan’s grid',
    asIs,
  ),
  maskSegment: option('<which>', 'which segment of --mask, by name or number, if it has several', asIs),
  segmentName: option(
    '<name>',
    'what the lesion is called in a .dcm or .seg.nrrd; default: lesion',
    (_, text) => {
      checkName(text);
      return text;
    },
  ),
  segmentType: option('<code>', 'what it is, in a .dcm; default: SCT:52988006:Lesion', code),
  segmentCategory: option(
    '<code>',
    'and of which category; default: SCT:49755003:Morphologically Abnormal Structure',
    code,
  ),
  reference: option(
    '<folder>',
    'for a .dcm of a scan that is not DICOM itself: the series that it was made of',
    asIs,
  ),
  addTo: option(
    '<lesions.dcm>',
    'keep the segments of this one too, in the new .dcm; one of the same name is replaced',
    asIs,
  ),
};
export type MaskOptions = Values<typeof maskTable> & { readonly output: string };

/** Files that are read. */
export const maskInputs = ({ mask, addTo }: MaskOptions): (string | undefined)[] => [mask, addTo];

/** @throws SgpSamError `bad-argument` for options without what they are about */
export function checkMaskOptions({ output, ...options }: MaskOptions): void {
  const { mask, maskSegment, segmentName, segmentType, segmentCategory, reference, addTo } = options;
  if (maskSegment !== undefined && mask === undefined)
    throw new SgpSamError('bad-argument', '--mask-segment is of a --mask, and there is none');
  const given = {
    '--segment-name': segmentName,
    '--segment-type': segmentType,
    '--segment-category': segmentCategory,
  };
  for (const [option, value] of Object.entries({ ...given, '--reference': reference, '--add-to': addTo }))
    if (
      value !== undefined &&
      !isDicomName(output) &&
      !(option === '--segment-name' && isSegNrrdName(output))
    )
      throw new SgpSamError(
        'bad-argument',
        `${option} is about DICOM segmentations, and ${output} is none`,
        'Name the output .dcm.',
      );
}

async function readBytes(path: string): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close();
  }
}

/** The mask to begin with; undefined unless one was asked for. Notes are told. */
export async function initialMask(
  volume: Volume,
  { mask, maskSegment }: MaskOptions,
  tell: (note: string) => void,
): Promise<NamedMask | undefined> {
  if (mask === undefined) return undefined;
  const file = await readMasks(await readBytes(mask), mask, volume);
  for (const note of file.notes) tell(`${mask}: ${note}`);
  const chosen = chooseMask(mask, file, maskSegment);
  tell(`${mask}: beginning with segment ${chosen.number} '${chosen.name}'`);
  return chosen;
}

function filesIn(folder: string): ByteSource[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => fileOnDisk(path, statSync(path).size));
  } catch (cause) {
    const what = `--reference ${folder}: ${systemReason(cause)}`;
    throw new SgpSamError('bad-argument', what, 'Give the folder of a DICOM series.', { cause });
  }
}

/** Looks up, before any work is done, what a DICOM segmentation of the volume will need; gives what writes it. */
export async function dicomSegWriter(
  volume: Volume,
  options: MaskOptions,
  tell: (note: string) => void,
): Promise<(mask: CroppedMask) => Promise<Uint8Array>> {
  const {
    reference: folder,
    addTo,
    segmentName: name = 'lesion',
    segmentType: type,
    segmentCategory: category,
  } = options;
  if (!volume.dicom && folder === undefined)
    throw new SgpSamError(
      'unsupported',
      `--output ${options.output}: a DICOM segmentation refers to the images of a DICOM series, and ${volume.name} is none`,
      'Name the series that it was made of (--reference FOLDER), or an output that ends in .nii.gz.',
    );
  const reference = folder === undefined ? undefined : await referenceSeries(filesIn(folder), volume, folder);
  const before =
    addTo === undefined ? undefined : await readDicomSeg(await readBytes(addTo), volume, { name: addTo });
  for (const note of before?.notes ?? []) tell(`${addTo}: ${note}`);
  const kept = (before?.segments ?? []).filter((segment) => segment.name !== name);
  return (mask) =>
    writeDicomSeg(volume, [...kept, { name, mask, type, category }], {
      reference,
      description: `${basename(volume.name)} lesions`.slice(0, 64),
    });
}
