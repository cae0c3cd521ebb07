/** The viewer's worker: the engine, and the profile that the page shows on demand. */
import { openDevice } from '../engine/gpu/open.js';
import { profileProgram } from '../engine/profiler/index.js';
import { profileHtml } from '../report/profile.js';
import { segmenterOpener } from '../session/local-segmenter.js';
import type { Port } from '../session/worker-protocol.js';
import { serveSegmenter } from '../session/worker-server.js';

serveSegmenter(globalThis as unknown as Port, segmenterOpener(openDevice), {
  extras: {
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
