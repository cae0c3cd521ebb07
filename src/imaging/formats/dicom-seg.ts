/** DICOM segmentations of a volume; what reads and writes them loads when it is asked for. */
import type { referenceSeries as Find } from '../dicom-seg/reference.js';
import type { readDicomSeg as Read, writeDicomSeg as Write } from '../dicom-seg/volume.js';

const codec = () => import('../dicom-seg/index.js');

/** Whether a name is a DICOM file's. */
export const isDicomName = (name: string): boolean => /\.dcm$/i.test(name);

/** Whether a file is a DICOM one, by its first 132 bytes. */
export const isDicom = (head: Uint8Array): boolean =>
  String.fromCharCode(...head.subarray(128, 132)) === 'DICM';

/**
 * Writes lesions of a volume as a binary DICOM segmentation of its series: one segment a lesion, which may overlap; each frame lies
 * on the plane of an image and names it; empty ones are left out. Patient and study are the series'.

 * @param volume read from a DICOM series; or from anything, and then `reference` is the series
 * @param segments masks on the volume's grid; names of 64 characters at most
 * @throws SgpSamError `unsupported` for a volume that is no DICOM series, or whose voxels are not the series' pixels; `bad-argument` for
 *   names and codes that DICOM cannot hold, or masks without a voxel between them; `bad-file`; `aborted`
 */
export const writeDicomSeg: typeof Write = async (...args) => (await codec()).writeDicomSeg(...args);

/**
 * Reads a DICOM segmentation onto a volume's grid; see `notes` of the result for what was resampled, thresholded or cut.
 * @param volume where the masks are wanted; of a DICOM series, its frame of reference has to be the segmentation's
 * @throws SgpSamError `bad-file` for what is no DICOM segmentation or is damaged; `unsupported` for a compressed one, or one whose
 *   frames do not say where they lie; `bad-prompt` for one of another frame of reference, or all outside of the volume
 */
export const readDicomSeg: typeof Read = async (...args) => (await codec()).readDicomSeg(...args);

/**
 * The series among DICOM files whose images are the slices of a volume.
 * @param files whatever else is among them is passed over
 * @param where what errors call them: a folder's name
 * @throws SgpSamError `bad-argument` where none or several are
 */
export const referenceSeries: typeof Find = async (...args) => (await codec()).referenceSeries(...args);
