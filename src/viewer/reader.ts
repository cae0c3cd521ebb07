/** A worker that reads one scan for the display, beside the engine's: a scan is in sight while weights still load. */
import { voxelSizes } from '../imaging/affine.js';
import { listSeries } from '../imaging/formats/open.js';
import { isHounsfield } from '../imaging/hounsfield.js';
import type { Vec3 } from '../imaging/types.js';
import { openVolumeInput, sourcesOf } from '../session/inputs.js';
import type { FilesInput, SeriesInfo } from '../session/segmenter.js';
import { type Failure, failureOf } from '../session/worker-protocol.js';
import { describedNames } from './channel-names.js';
import { type Factors, factorsFor, isReduced, reduceData, reducedAffine, reducedDims } from './reduce.js';

/** Which files, and what is asked of them. */
export type ReadRequest = { readonly input: FilesInput; readonly name: string | undefined } & (
  | { readonly what: 'series' }
  | {
      readonly what: 'scan';
      readonly series: number | undefined;
      readonly channel: number;
      /** At most so many voxels are shown. */
      readonly limit: number;
    }
);

/** A scan as it is shown, and what it is in full. */
export interface ReadScan {
  readonly name: string;
  readonly dims: Vec3;
  readonly spacing: Vec3;
  readonly factors: Factors;
  /** What is shown: voxels, i fastest, of this size and place (4×4 row-major). */
  readonly shown: {
    readonly data: Float32Array<ArrayBuffer> | Int16Array<ArrayBuffer>;
    readonly dims: Vec3;
    readonly spacing: Vec3;
    readonly affine: readonly number[];
  };
  readonly hounsfield: boolean;
  /** What the file calls its channels; empty where it does not. */
  readonly channelNames: readonly string[];
  readonly least: number;
  readonly most: number;
}

export type ReadReply = { readonly answer: ReadScan | readonly SeriesInfo[] } | { readonly error: Failure };

async function read({
  input,
  name,
  series,
  channel,
  limit,
}: Extract<ReadRequest, { what: 'scan' }>): Promise<ReadScan> {
  const volume = await openVolumeInput(input, { name, series, channel });
  const { data, dims, affine } = volume;
  const rows = Array.from(affine);
  const spacing = voxelSizes(rows);
  const factors = factorsFor(dims, spacing, limit);
  let [least, most, whole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  for (let n = 0; n < data.length; n++) {
    const v = data[n];
    if (v < least) least = v;
    if (v > most) most = v;
    if (whole && v !== Math.round(v)) whole = false;
  }
  const hounsfield = isHounsfield(volume);
  const means = isReduced(factors) ? reduceData(data, dims, factors) : (data as Float32Array<ArrayBuffer>);
  // Half the memory where that loses nothing that is worth showing: whole numbers of a scanner, not a map of 0 to 1.
  const short = whole && least >= -32768 && most <= 32767 && most - least >= 64;
  const affineShown = reducedAffine(rows, factors);
  return {
    name: volume.name,
    dims,
    spacing,
    factors,
    shown: {
      data: short ? rounded(means) : means,
      dims: reducedDims(dims, factors),
      spacing: voxelSizes(affineShown),
      affine: affineShown,
    },
    hounsfield,
    channelNames: describedNames(volume.description, volume.channels ?? 1),
    least,
    most,
  };
}

function rounded(values: Float32Array): Int16Array<ArrayBuffer> {
  const out = new Int16Array(values.length);
  for (let n = 0; n < values.length; n++) out[n] = Math.round(values[n]);
  return out;
}

addEventListener('message', async ({ data }: MessageEvent<ReadRequest>) => {
  const send = (reply: ReadReply, transfer: Transferable[]) =>
    (globalThis as unknown as Worker).postMessage(reply, transfer);
  try {
    if (data.what === 'series') send({ answer: await listSeries(sourcesOf(data.input, data.name)) }, []);
    else {
      const scan = await read(data);
      send({ answer: scan }, [scan.shown.data.buffer]);
    }
  } catch (error) {
    send({ error: failureOf(error) }, []);
  }
});
