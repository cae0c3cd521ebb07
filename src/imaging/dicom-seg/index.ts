/** DICOM segmentations. All of it is loaded only when one is read or written: dcmjs is large. */
export { isDicom } from './dataset.js';
export { type DicomSeg, type DicomSegment, type ReadDicomSegOptions, readDicomSeg } from './read.js';
export {
  type Code,
  defaultCategory,
  defaultType,
  parseCode,
  type Rgb,
  type SegmentToWrite,
} from './segments.js';
export type { SourceFile } from './source.js';
export { type DicomSegOptions, writeDicomSeg } from './write.js';
