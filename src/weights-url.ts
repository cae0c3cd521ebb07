/** `sgp-sam/weights`: where the weights of this package are. Bundlers see the address and copy the file. */

/** The address of `sgp-small.safetensors`, for `openSegmenter` and `openWorkerSegmenter`; in Node a `file:` address. */
export const sgpSmall: string = new URL('../weights/sgp-small.safetensors', import.meta.url).href;
