/** Eight tables, so that eight bytes are folded in per step ("slicing by 8"): a checksum must not cost more than inflating. */
const tables: readonly Uint32Array[] = (() => {
  const all = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    all[0]![n] = c >>> 0;
  }
  for (let t = 1; t < 8; t++) {
    for (let n = 0; n < 256; n++) {
      const previous = all[t - 1]![n]!;
      all[t]![n] = (all[0]![previous & 255]! ^ (previous >>> 8)) >>> 0;
    }
  }
  return all;
})();

/** CRC-32 as gzip and PNG use it; `crc` is the value so far, to go on from. */
export function crc32(bytes: Uint8Array, crc = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let c = ~crc;
  let n = 0;
  for (const end = bytes.length - 7; n < end; n += 8) {
    c ^= bytes[n]! | (bytes[n + 1]! << 8) | (bytes[n + 2]! << 16) | (bytes[n + 3]! << 24);
    c =
      t7[c & 255]! ^
      t6[(c >>> 8) & 255]! ^
      t5[(c >>> 16) & 255]! ^
      t4[c >>> 24]! ^
      t3[bytes[n + 4]!]! ^
      t2[bytes[n + 5]!]! ^
      t1[bytes[n + 6]!]! ^
      t0[bytes[n + 7]!]!;
  }
  for (; n < bytes.length; n++) c = t0[(c ^ bytes[n]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}
