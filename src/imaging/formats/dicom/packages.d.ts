/** What is used of packages that come without types. */
declare module '@cornerstonejs/codec-charls/decode' {
  /** Of CharLS and OpenJPEG alike. */
  export interface EmscriptenDecoder {
    getEncodedBuffer(length: number): Uint8Array;
    decode(): void;
    getDecodedBuffer(): Uint8Array;
    getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number };
    delete(): void;
  }
  const open: (options?: object) => Promise<{ JpegLSDecoder: new () => EmscriptenDecoder }>;
  export default open;
}
declare module '@cornerstonejs/codec-openjpeg/decode' {
  import type { EmscriptenDecoder } from '@cornerstonejs/codec-charls/decode';

  const open: (options?: object) => Promise<{ J2KDecoder: new () => EmscriptenDecoder }>;
  export default open;
}
declare module 'jpeg-lossless-decoder-js' {
  export class Decoder {
    decode(buffer: ArrayBuffer, offset: number, length: number, bytesPerValue: number): ArrayBuffer;
    frame: { dimX: number; dimY: number; numComp: number; precision: number };
  }
}
