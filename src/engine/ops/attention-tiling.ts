/** How the tiled attention kernels (attention_tile.wgsl), for GPUs, divide their work. Pure. */
import { ceilDiv } from '../kernels/call.js';

/** What a workgroup takes: own tokens, lanes that share the other tokens of a product, and how many quads of those a lane has. */
export interface TileShape {
  readonly own: number;
  readonly lanes: number;
  readonly quads: number;
  /** Own tokens that an invocation sums a vec4 of the head for. */
  readonly strip: number;
}

/** The defines of attention_tile.wgsl and what it takes. */
export interface Tiling {
  readonly own: number;
  /** Other tokens that are met at once. */
  readonly others: number;
  readonly threads: number;
  readonly defines: Readonly<Record<string, number | boolean>>;
  /** Workgroup memory, in bytes. */
  readonly bytes: number;
}

/** Head dims beyond this would need more sums per invocation than registers should hold. */
export const WIDEST_TILED = 256;

/** `value` rounded up to 16 bytes, as arrays in workgroup memory begin. */
export const rounded = (bytes: number): number => 16 * ceilDiv(bytes, 16);

/** The largest power of two that is not over `n` ≥ 1. */
const powerOfTwo = (n: number): number => 2 ** Math.floor(Math.log2(n));

/**
 * @param stage vec4 that `stage` must have for what else a kernel keeps there
 */
export function tilingOf({ own, lanes, quads, strip }: TileShape, headDim: number, stage = 0): Tiling {
  const hd4 = ceilDiv(headDim, 4);
  const threads = (own / 4) * lanes;
  const others = 4 * lanes * quads;
  const strips = own / strip;
  const columns = Math.min(hd4, Math.floor(threads / strips));
  const columnBlocks = ceilDiv(hd4, columns);
  const parts = Math.min(lanes, powerOfTwo(Math.floor(threads / (strips * columns))));
  const weights = own * lanes + threads;
  // As many vec4 of the head at once as fit where the weights will be; two are wanted at least.
  const chunk = [4, 2, 1].find(
    (n) => n <= hd4 && (n === 1 || n * (others + own + 4) <= weights + 32),
  ) as number;
  const size = Math.max(
    stage,
    weights,
    chunk * (others + own + 4),
    (parts / 2) * columnBlocks * own * columns,
  );
  return {
    own,
    others,
    threads,
    defines: {
      HD: headDim,
      HD4: hd4,
      SCALAR: headDim % 4 !== 0,
      QT: own,
      KT: others,
      T: threads,
      LANES: lanes,
      OTHER_QUADS: quads,
      EACH: 4,
      OWN_QUADS: own / 4,
      STRIP: strip,
      COLUMNS: columns,
      COLUMN_BLOCKS: columnBlocks,
      PARTS: parts,
      // Two rounds' loads in flight, where sums leave registers for them.
      ROUNDS_AT_ONCE: strip <= 4 && lanes / parts >= 2 ? 2 : 1,
      CHUNK: chunk,
      RAGGED_HEAD: hd4 % chunk !== 0,
      STAGE: size,
    },
    bytes: 16 * size + rounded(4 * own) + rounded(4 * others),
  };
}
