/** What decoders that Emscripten made of C++ have in common. */
export interface EmscriptenDecoder {
  /** Room for the compressed bytes, in the module's own memory. */
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  /** In the module's own memory: the next frame overwrites it. */
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number };
  delete(): void;
}
