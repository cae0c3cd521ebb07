/** DICOM segmentations, as a part of the package that loads when one is read or written: dcmjs is large. */
export { headerIn, parseDicom } from './dataset.js';
export { decodeDicomSeg } from './read.js';
export { encodeDicomSeg } from './write.js';
