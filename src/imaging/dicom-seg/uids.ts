/** Unique identifiers: random ones, or the same ones of the same seed. */
import { sha256 } from '@noble/hashes/sha2.js';

/** 128 bits as a UID below 2.25 (ITU-T X.667: the integer of a UUID). */
function uidOf(bits: Uint8Array): string {
  const uuid = Uint8Array.from(bits.subarray(0, 16));
  // Version 4 and variant 1: 2.25 is for UUIDs alone.
  uuid[6] = (uuid[6] & 0x0f) | 0x40;
  uuid[8] = (uuid[8] & 0x3f) | 0x80;
  return `2.25.${uuid.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)}`;
}

/** Makes UIDs: the n-th is always the same one for a seed, and a random one without. */
export function uidMaker(seed: string | undefined): () => string {
  let made = 0;
  return () => {
    const random = () => crypto.getRandomValues(new Uint8Array(16));
    const bits = seed === undefined ? random() : sha256(new TextEncoder().encode(`${seed}\n${made}`));
    made++;
    return uidOf(bits);
  };
}
