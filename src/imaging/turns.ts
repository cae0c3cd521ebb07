/** Milliseconds of work after which a page gets to draw: well under a frame at 60 Hz. */
const SHARE = 10;

/** A function to await between steps of long work: now and then it lets other work on this thread have a turn. */
export function turnTaker(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < SHARE) return undefined;
    return new Promise((resolve) => {
      setTimeout(() => {
        since = performance.now();
        resolve();
      }, 0);
    });
  };
}
