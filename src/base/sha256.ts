/** SHA-256 by the platform, which has it where it has WebGPU: in secure contexts, and in Node. */

/** @returns 64 hexadecimal digits */
export async function sha256(bytes: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
