/** What a weights file says of itself: which of its tensors were never trained. */
import { readJson } from '../base/json.js';
import type { WeightSource } from './weight-source.js';

/** Names that a weights file's metadata lists as never trained. */
export function untrainedOf(metadata: Readonly<Record<string, string>>): string[] {
  try {
    const names = readJson(metadata.untrained ?? '[]', 'untrained');
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  } catch {
    return []; // somebody else's entry of that name
  }
}

/** Whether the head that estimates a mask's IoU was trained. */
export const estimatesIou = ({ metadata }: Pick<WeightSource, 'metadata'>): boolean =>
  !untrainedOf(metadata).some((name) => name.startsWith('mask_decoder.iou_prediction_head.'));
