/** DICOM segmentations, as a part of the package that loads when one is read or written: dcmjs is large. */
export { referenceSeries } from './reference.js';
export { readDicomSeg, writeDicomSeg } from './volume.js';
