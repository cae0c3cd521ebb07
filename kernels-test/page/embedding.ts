/** What a host does with a segmenter, the same in Node and in a page: a function without anything from outside it. */
import type { Lesion, Segmenter, SegmenterOptions } from '../../src/session/segmenter.js';

export type Open = (options: SegmenterOptions) => Promise<Segmenter>;

export interface Host {
  readonly open: Open;
  readonly file: Uint8Array<ArrayBuffer>;
  readonly at: readonly [number, number, number];
  readonly near: readonly [number, number, number];
  /** The same place as `at`, in world millimetres. */
  readonly mm: readonly [number, number, number];
}

/** Numbers and masks that must come out alike; errors by their codes. */
export async function embeddingScenario({ open, file, at, near, mm }: Host) {
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: { code?: string }) => error.code ?? String(error),
    );
  const stages = new Set<string>();
  const segmenter = await open({
    weights: 'formula:sgp-tiny',
    budgetMs: 0.5, // a fraction of any encode: what aborts in `progress` is asked in the middle of one
    progress: ({ stage }) => stages.add(stage),
  });
  const volume = await segmenter.openVolume(file, { name: 'head.nii.gz' });
  const empty = await segmenter.memory();
  const lesion = volume.lesion('a');
  const seen: { done: number; total: number }[] = [];
  const first = await lesion.addPoint(
    { ijk: at },
    { probabilities: true, progress: ({ done, total }) => seen.push({ done, total }) },
  );
  const second = await lesion.addPoint({ ijk: near, label: 0 });
  const undone = await lesion.undo();
  const redone = await lesion.redo();
  const viaMm = await volume.lesion('b').addPoint({ mm });
  const boxed = await volume.lesion('c').addBox({
    ijk: [
      [at[0] + 2, at[1] - 3, at[2] + 1],
      [at[0] - 2, at[1] + 3, at[2] - 1],
    ],
  });
  const masked = volume.lesion('d');
  const given = await masked.setMask(first.mask);
  const refined = await masked.addPoint({ ijk: near, label: 0 });
  const closed = await lesion.preview(['closed', 'closed']);
  const actions = await lesion.actions();
  const repeat = async (twin: Lesion) => {
    let state = await twin.state();
    for (const action of actions) state = await twin.apply(action);
    return state;
  };
  const again = await repeat(volume.lesion('e'));

  const controller = new AbortController();
  const stopped = code(
    volume
      .lesion('f')
      .addPoint({ ijk: at }, { signal: controller.signal, progress: () => controller.abort() }),
  );
  const errors = {
    outside: await code(lesion.addPoint({ ijk: [900, 0, 0] })),
    first: await code(volume.lesion('g').addPoint({ ijk: at, label: 0 })),
    stopped: await stopped,
    size: await code(volume.lesion('h').setMask(new Uint8Array(5))),
    file: await code(segmenter.openVolume(new Uint8Array(400), { name: 'bad.nii' })),
    gates: await code(segmenter.setGates(['auto', 'auto', 'auto'])),
    unknown: await code(volume.save(['nobody'])),
  };
  const saved = await volume.save(['a', 'b'], 'lesions.nii');
  const image = await volume.image();

  // Lost in the middle: that call fails, the rest is as it was, and after recovery the mask is the same.
  const lost = segmenter.lost;
  const under = code(volume.lesion('i').addPoint({ ijk: at }));
  await segmenter.loseDevice();
  const loss = [(await lost).code, await under, await code(lesion.addPoint({ ijk: at }))];
  const kept = await lesion.state();
  await segmenter.recover();
  const recovered = await volume.lesion('i').addPoint({ ijk: at });
  const further = await lesion.addPoint({ ijk: at });

  // Numbers with a place in the world, instead of a file.
  const plain = await segmenter.openVolume({
    data: Float32Array.from({ length: 40 ** 3 }, (_, n) => 100 + (n % 40) + (Math.floor(n / 1600) % 40)),
    dims: [40, 40, 40],
    spacing: [2, 2, 2],
  });
  const onPlain = await plain.lesion('p').addPoint({ ijk: [20, 20, 20] });
  const wrong = await code(segmenter.openVolume({ data: [1, 2, 3], dims: [2, 2, 2] }));
  // Handles of what is gone say so.
  const gone = volume.lesion('g2');
  await gone.state();
  await volume.remove('g2');
  const onPlainLesion = plain.lesion('p');
  await plain.dispose();
  const handles = {
    removed: await code(gone.addPoint({ ijk: at })),
    again: (await volume.lesion('g2').state()).voxels,
    disposed: await code(onPlainLesion.state()),
    volume: await code(plain.image()),
    nothing: await code(segmenter.openVolume({} as never)),
    label: await code(lesion.addPoint({ ijk: at, label: 7 as 1 })),
    place: await code(lesion.addPoint({ ijk: [1, Number.NaN, 2] })),
    settings: await code(lesion.preview(['shut' as 'auto'])),
  };
  // An empty lesion can be saved.
  const empties = await volume.save(['g2']);
  // The scale is looked for.
  const zooming = await open({ weights: 'formula:sgp-tiny', zoom: 'auto' });
  const zoomVolume = await zooming.openVolume(file, { name: 'head.nii.gz' });
  const found = await zoomVolume.lesion('z').addPoint({ ijk: at });
  const zoomed = {
    info: zooming.info.zoom,
    mask: [...found.mask],
    zoom: found.zoom,
    warnings: found.warnings,
    encodes: found.encodes,
  };
  await zooming.dispose();
  const badZoom = await code(open({ weights: 'formula:sgp-tiny', zoom: 'on' as 'off' }));
  // A device that is not lost needs no recovery, and the promise of its loss stays.
  const same = segmenter.lost;
  await segmenter.recover();
  const stays = segmenter.lost === same;
  const { adapter, sites, trained, config } = segmenter.info;
  // Disposed of in the middle: what is under way stops, twice is once.
  const middle = code(volume.lesion('last').addPoint({ ijk: at }));
  const opening = code(segmenter.openVolume(file, { name: 'late.nii.gz' }));
  await Promise.all([segmenter.dispose(), segmenter.dispose()]);
  const ends = [await middle, await opening];
  const after = await code(lesion.addPoint({ ijk: at }));
  return {
    info: { sites, trained, config: config.name, adapter: adapter.kind, stages: [...stages].sort() },
    volume: volume.info,
    empty,
    masks: {
      first: [...first.mask],
      second: [...second.mask],
      undone: [...undone.mask],
      redone: [...redone.mask],
      viaMm: [...viaMm.mask],
      boxed: [...boxed.mask],
      given: [...given.mask],
      refined: [...refined.mask],
      closed: [...closed.mask],
      again: [...again.mask],
      kept: [...kept.mask],
      recovered: [...recovered.mask],
      further: [...further.mask],
    },
    probabilities: [...(first.probabilities ?? [])],
    changed: second.changed,
    voxels: first.voxels,
    millilitres: first.millilitres,
    iou: first.iou,
    open: first.gates.map((gate) => gate.openChannels[0]),
    encodes: [first.encodes, second.encodes, further.encodes],
    timings: Object.values(first.timings).every((ms) => ms >= 0),
    progress: seen.length > 1 && seen.every(({ done, total }) => done <= total),
    zoomed,
    errors: { ...errors, wrong, after, badZoom },
    loss,
    handles,
    empties: empties.length,
    stays,
    ends,
    saved: [...saved],
    image: image.length,
    onPlain: onPlain.voxels,
  };
}
