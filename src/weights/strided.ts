/** Elements of a storage that a tensor's view reaches: from its offset, how many up to and with the last one. */
export function viewSpan(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((last, length, axis) => last + (length - 1) * strides[axis], 0) + 1;
}

/** Whether the view's elements lie in the storage just as C order wants them, without gaps. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

/**
 * Copies a strided view into C order.
 * @param bytes the view's span: its first element up to its last.
 * @param size bytes per element (1, 2, 4 or 8).
 */
export function gatherStrided(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array<ArrayBuffer> {
  const count = shape.reduce((product, length) => product * length, 1);
  // Elements are moved as integers of their size, or for 8 bytes as pairs of 4.
  const words = size === 8 ? 2 : 1;
  const Words = size === 1 ? Uint8Array : size === 2 ? Uint16Array : Uint32Array;
  const from = new Words(bytes.buffer, bytes.byteOffset, bytes.byteLength / (size / words));
  const to = new Words(count * words);
  const index = new Array<number>(shape.length).fill(0);
  let source = 0;
  for (let i = 0; i < count; i++) {
    to[i * words] = from[source * words];
    if (words === 2) to[i * 2 + 1] = from[source * 2 + 1];
    // Step the index like an odometer, its last axis fastest.
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      source += strides[axis];
      if (++index[axis] < shape[axis]) break;
      source -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return new Uint8Array(to.buffer);
}
