/** Stands for the package "webgpu" in the suite `pure`, so that no file of it can open a device without saying so. */
export const globals = {};

export function create(): never {
  throw new Error(
    'a test of the suite "pure" opened a device: one that imports support/gpu or support/run is in "gpu"',
  );
}
