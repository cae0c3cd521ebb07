/** Work that must not overlap: one piece after the other. */
export class Queue {
  private last: Promise<unknown> = Promise.resolve();

  /**
   * Does `work` once everything that was asked for before it is over, whether that failed or not.
   * @returns its result; rejects with its error, which later work does not see
   */
  run<R>(work: () => R | Promise<R>): Promise<R> {
    const result = this.last.then(work);
    this.last = result.catch(() => {});
    return result;
  }

  /** Resolves when everything that was asked for so far is over, failed or not. */
  async idle(): Promise<void> {
    await this.last;
  }

  /** Resolves when nothing is left to do, what was asked for meanwhile included. */
  async quiet(): Promise<void> {
    for (let seen: unknown; seen !== this.last; ) {
      seen = this.last;
      await seen;
    }
  }
}
