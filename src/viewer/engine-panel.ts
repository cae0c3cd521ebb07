/** What the page folds away under Engine, but the gates: which weights on what, the scale, times, the profile of an encode. */
import { adapterLine } from '../engine/gpu/device.js';
import type { WorkerSegmenter } from '../session/worker-client.js';
import type { Shown } from './chain.js';
import { button, element, make } from './page.js';
import type { Work } from './tasks.js';

/** @param state the selected lesion's */
export function showEngine(segmenter: WorkerSegmenter | undefined, state: Partial<Shown> = {}): void {
  const { timings, encodes = 1, zoom } = state;
  for (const id of ['profile', 'compare']) button(id).disabled = !segmenter;
  if (segmenter)
    element('adapter').textContent = `${segmenter.info.weights} on ${adapterLine(segmenter.info.adapter)}`;
  element('scale').textContent = zoom ? `Scale ${+zoom.spacing.toPrecision(3)} mm: ${zoom.why.message}.` : '';
  const rows = timings
    ? ([
        ['Resample', timings.preprocess],
        [encodes > 1 ? `Encode (${encodes} regions)` : 'Encode', timings.encode],
        ['Decode', timings.decode],
        ['Paste back', timings.pasteBack],
      ] as const)
    : [];
  element('times').replaceChildren(
    ...rows.flatMap(([name, ms]) => [make('dt', {}, name), make('dd', {}, `${ms.toFixed(0)} ms`)]),
  );
}

/** Measures an encode, and opens what came of it. */
export async function showProfile(segmenter: WorkerSegmenter | undefined, work: Work): Promise<void> {
  const html = await segmenter?.extra<string>('profile', [], work);
  element<HTMLIFrameElement>('profile-frame').srcdoc = html ?? '';
  element<HTMLDialogElement>('profile-dialog').showModal();
}
