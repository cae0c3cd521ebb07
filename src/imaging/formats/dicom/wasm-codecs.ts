/** JPEG-LS (CharLS) and JPEG 2000 (OpenJPEG) as WebAssembly that this module carries: nothing is fetched beside it. */

import charlsWasm from '@cornerstonejs/codec-charls/decodewasm';
import openCharls from '@cornerstonejs/codec-charls/decodewasmjs';
import openjpegWasm from '@cornerstonejs/codec-openjpeg/decodewasm';
import openOpenjpeg from '@cornerstonejs/codec-openjpeg/decodewasmjs';
import { SgpSamError } from '../../../base/errors.js';
import { type Codec, fitted } from './codecs.js';
import type { EmscriptenDecoder } from './emscripten.js';

/** OpenJPEG tells of every header that it reads. */
const QUIET = { print: () => {}, printErr: () => {} };

type Opener<K extends string> = (options: object) => Promise<Record<K, new () => EmscriptenDecoder>>;

async function started<K extends string>(
  open: Opener<K>,
  wasmBinary: Uint8Array,
  name: K,
): Promise<new () => EmscriptenDecoder> {
  try {
    // `locateFile` keeps the glue from looking for a file: the bytes are here.
    return (await open({ ...QUIET, wasmBinary, locateFile: (file: string) => file }))[name];
  } catch (cause) {
    throw new SgpSamError(
      'unsupported',
      `the decoder of these compressed pixels does not start: ${cause instanceof Error ? cause.message : cause}`,
      "It is WebAssembly: the page's content security policy must allow 'wasm-unsafe-eval'.",
      { cause },
    );
  }
}

function codecOf(open: () => Promise<new () => EmscriptenDecoder>): Codec {
  let ready: Promise<new () => EmscriptenDecoder> | undefined;
  return async (packed) => {
    ready ??= open();
    const decoder = new (await ready)();
    try {
      decoder.getEncodedBuffer(packed.bytes.length).set(packed.bytes);
      decoder.decode();
      const { width, height, bitsPerSample, componentCount } = decoder.getFrameInfo();
      // Its memory is reused by the next frame.
      const bytes = decoder.getDecodedBuffer().slice();
      return fitted({ bytes, bits: bitsPerSample, width, height, components: componentCount }, packed);
    } finally {
      decoder.delete();
    }
  };
}

export const jpegLs = codecOf(() => started(openCharls, charlsWasm, 'JpegLSDecoder'));
export const jpeg2000 = codecOf(() => started(openOpenjpeg, openjpegWasm, 'J2KDecoder'));
