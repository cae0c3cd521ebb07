/** The median, without sorting. */

/** The k-th smallest (from 0) of the values, which come out in another order (Hoare's selection). */
function select(values: Float32Array, k: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let [i, j] = [low, high];
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const swap = values[i];
      values[i++] = values[j];
      values[j--] = swap;
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  return values[k];
}

/** The middle value, or the mean of the two middle ones; undefined for none. The values come out in another order. */
export function median(values: Float32Array): number | undefined {
  const { length } = values;
  if (length === 0) return undefined;
  const upper = select(values, length >> 1);
  return length % 2 === 1 ? upper : (select(values, (length >> 1) - 1) + upper) / 2;
}
