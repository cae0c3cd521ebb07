/** What is used of packages that come without types. */
declare module '@cornerstonejs/codec-charls/decodewasmjs' {
  const open: (
    options: object,
  ) => Promise<{ JpegLSDecoder: new () => import('./emscripten.js').EmscriptenDecoder }>;
  export default open;
}
declare module '@cornerstonejs/codec-openjpeg/decodewasmjs' {
  const open: (
    options: object,
  ) => Promise<{ J2KDecoder: new () => import('./emscripten.js').EmscriptenDecoder }>;
  export default open;
}
/** The bundler and the tests make bytes of it. */
declare module '@cornerstonejs/codec-charls/decodewasm' {
  const bytes: Uint8Array;
  export default bytes;
}
declare module '@cornerstonejs/codec-openjpeg/decodewasm' {
  const bytes: Uint8Array;
  export default bytes;
}
declare module 'jpeg-lossless-decoder-js' {
  export class Decoder {
    decode(
      buffer: ArrayBuffer,
      offset: number,
      length: number,
      bytesPerValue: number,
    ): Uint8Array | Uint16Array;
    frame: { dimX: number; dimY: number; numComp: number; precision: number };
  }
}
