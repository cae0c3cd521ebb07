/** Lesions' colours, by their number; distinguishable with the common colour blindnesses (after Okabe and Ito). */
export const COLOURS = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [204, 121, 167],
  [213, 94, 0],
  [0, 114, 178],
] as const;

export const colourOf = (value: number) => COLOURS[(value - 1) % COLOURS.length];

/** As style sheets write it. */
export const cssColourOf = (value: number): string => `rgb(${colourOf(value).join(' ')})`;
