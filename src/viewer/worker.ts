/** The viewer's worker: the engine, what is measured on masks, and the profile that the page shows on demand. */
import { SgpSamError } from '../base/errors.js';
import { openDevice } from '../engine/gpu/open.js';
import { profileProgram } from '../engine/profiler/index.js';
import type { CroppedMask } from '../imaging/crop.js';
import type { Volume } from '../imaging/types.js';
import { profileHtml } from '../report/profile.js';
import { type LocalSegmenter, segmenterOpener } from '../session/local-segmenter.js';
import type { Port } from '../session/worker-protocol.js';
import { serveSegmenter } from '../session/worker-server.js';
import { forDisplay } from './for-display.js';
import { measure } from './measure.js';

function openedAs(segmenter: LocalSegmenter, name: unknown, channel: unknown): Volume {
  const volume = segmenter.opened(String(name), Number(channel));
  if (!volume) throw new SgpSamError('bad-argument', `${name}, channel ${channel}, is not open`);
  return volume;
}

serveSegmenter(globalThis as unknown as Port, segmenterOpener(openDevice), {
  extras: {
    /** What is measured on a mask in a channel of what is open. */
    measure: (segmenter, [name, channel, crop]) =>
      measure(openedAs(segmenter, name, channel), crop as CroppedMask),
    /** What is shown of a channel that is open, in so many voxels at most. */
    display: (segmenter, [name, channel, limit]) =>
      forDisplay(openedAs(segmenter, name, channel), Number(limit)),
    /** An encode of noise, dispatch by dispatch, as an HTML document. */
    profile: async (segmenter, _, { signal, progress }) => {
      const { engine, model } = segmenter.internals;
      const program = model.encoderProgram;
      const noise = Float32Array.from({ length: model.config.volume ** 3 }, (_, n) => Math.sin(n * 12.9898));
      program.write('image', noise);
      const profile = await profileProgram(engine, program, {
        what: 'encode',
        model: model.config.name,
        runs: 3,
        signal,
        progress: (done, total) => progress?.({ stage: 'profile', done, total }),
      });
      return profileHtml(profile);
    },
  },
});
