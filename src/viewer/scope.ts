/** What weights are for, in one line. */
import type { SegmenterInfo } from '../session/segmenter.js';

const range = ([low, high]: readonly [number, number], unit: string): string => `${low} to ${high} ${unit}`;

/** As the weights' card says; it may say nothing. */
export function scopeLine({ scope, trained }: Pick<SegmenterInfo, 'scope' | 'trained'>): string {
  if (!trained) return 'These weights are not trained: masks mean nothing.';
  if (!scope) return 'These weights do not say what they are for.';
  const { modalities, organs, millilitres, extentMm } = scope;
  const parts = [
    ...(modalities ? [modalities.join(', ')] : []),
    ...(organs ? [organs.join(', ')] : []),
    ...(millilitres ? [`lesions of ${range(millilitres, 'mL')}`] : []),
    ...(extentMm ? [`${range(extentMm, 'mm')} long`] : []),
  ];
  return `Trained for ${parts.join('; ')}.`;
}
