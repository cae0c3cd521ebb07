import { SgpSamError } from '../base/errors.js';
import type { Datatype } from './datatypes.js';
import type { DatatypeName, Vec3 } from './types.js';

/** Voxels an image starts with room for when its file's real length is unknown; then it doubles. */
const FIRST_ROOM = 1 << 20;
/** Bytes converted at a time. */
const BLOCK = 1 << 16;

type Stored =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

const viewOf: Record<DatatypeName, (buffer: ArrayBuffer) => Stored> = {
  uint8: (b) => new Uint8Array(b),
  int8: (b) => new Int8Array(b),
  uint16: (b) => new Uint16Array(b),
  int16: (b) => new Int16Array(b),
  uint32: (b) => new Uint32Array(b),
  int32: (b) => new Int32Array(b),
  uint64: (b) => new BigUint64Array(b),
  int64: (b) => new BigInt64Array(b),
  float32: (b) => new Float32Array(b),
  float64: (b) => new Float64Array(b),
};

const hostIsLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** An image's voxels as a file stores them: value = stored · slope + inter. */
export interface StoredVoxels {
  readonly dims: Vec3;
  readonly datatype: Datatype;
  readonly littleEndian: boolean;
  readonly slope: number;
  readonly inter: number;
}

/** Turns an image's bytes, arriving in pieces of any length, into scaled float32 values. */
export class VoxelSink {
  private out: Float32Array;
  private filled = 0;
  private readonly block = new ArrayBuffer(BLOCK);
  private readonly blockBytes = new Uint8Array(this.block);
  private readonly blockView: Stored;
  /** Bytes waiting in the block. */
  private waiting = 0;
  private badVoxels = 0;
  private firstBad = -1;

  private readonly count: number;
  private readonly datatype: Datatype;
  private readonly littleEndian: boolean;
  private readonly slope: number;
  private readonly inter: number;

  /**
   * @param present whether the file is known to hold all voxels: if not, room is made as they come, so that a
   *   header's claim alone allocates nothing
   */
  constructor(
    private readonly layout: StoredVoxels,
    present: boolean,
    private readonly name: string,
  ) {
    const { dims, datatype } = layout;
    this.count = dims[0] * dims[1] * dims[2];
    this.datatype = datatype;
    this.littleEndian = layout.littleEndian;
    this.slope = layout.slope;
    this.inter = layout.inter;
    this.blockView = viewOf[datatype.name](this.block);
    this.out = this.allocate(present ? this.count : Math.min(this.count, FIRST_ROOM));
  }

  /** Takes the image's next bytes; never more than are left. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const take = Math.min(bytes.length - at, BLOCK - this.waiting);
      this.blockBytes.set(bytes.subarray(at, at + take), this.waiting);
      this.waiting += take;
      at += take;
      if (this.waiting === BLOCK) this.convert();
    }
  }

  /**
   * The whole image.
   * @throws SgpSamError `non-finite` when a voxel is NaN, infinite or beyond float32
   */
  finish(): Float32Array {
    this.convert();
    if (this.badVoxels > 0) {
      const [ni, nj] = this.layout.dims;
      const at = this.firstBad;
      const voxel = [at % ni, Math.floor(at / ni) % nj, Math.floor(at / (ni * nj))].join(', ');
      const many = this.badVoxels === 1 ? '1 voxel is' : `${this.badVoxels} voxels are`;
      throw new SgpSamError(
        'non-finite',
        `${this.name}: ${many} NaN, infinite or beyond float32, the first at (${voxel})`,
        'Replace them, for example by 0 with `fslmaths in -nan out`.',
      );
    }
    return this.out;
  }

  private convert(): void {
    const { size } = this.datatype;
    if (size > 1 && this.littleEndian !== hostIsLittleEndian) swapBytes(this.blockBytes, this.waiting, size);
    const n = this.waiting / size;
    this.makeRoom(this.filled + n);
    const out = this.out.subarray(this.filled, this.filled + n);
    scale(this.blockView, out, this.slope, this.inter);
    for (let i = 0; i < n; i++) {
      const v = out[i];
      // Only NaN and the infinities differ from themselves by something other than zero.
      if (v - v !== 0) {
        if (this.badVoxels === 0) this.firstBad = this.filled + i;
        this.badVoxels++;
      }
    }
    this.filled += n;
    this.waiting = 0;
  }

  private makeRoom(needed: number): void {
    if (needed <= this.out.length) return;
    const grown = this.allocate(Math.min(this.count, Math.max(needed, this.out.length * 2)));
    grown.set(this.out.subarray(0, this.filled));
    this.out = grown;
  }

  private allocate(voxels: number): Float32Array {
    try {
      return new Float32Array(voxels);
    } catch (cause) {
      throw new SgpSamError(
        'unsupported',
        `${this.name}: no memory for its ${this.count} voxels`,
        'Crop the image around the lesion, or close other programs.',
        { cause },
      );
    }
  }
}

function scale(stored: Stored, out: Float32Array, slope: number, inter: number): void {
  if (stored instanceof BigInt64Array || stored instanceof BigUint64Array) {
    for (let i = 0; i < out.length; i++) out[i] = Number(stored[i]) * slope + inter;
  } else if (slope === 1 && inter === 0) {
    for (let i = 0; i < out.length; i++) out[i] = stored[i];
  } else {
    for (let i = 0; i < out.length; i++) out[i] = stored[i] * slope + inter;
  }
}

/** Reverses the bytes of each element of `size` bytes. */
function swapBytes(bytes: Uint8Array, length: number, size: number): void {
  for (let at = 0; at + size <= length; at += size) {
    for (let a = at, b = at + size - 1; a < b; a++, b--) {
      const t = bytes[a];
      bytes[a] = bytes[b];
      bytes[b] = t;
    }
  }
}
