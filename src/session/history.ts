/** Steps that can be undone and done again. */
export class History<S> {
  private readonly steps: S[] = [];
  private last = 0;

  /** Of all steps, how many count; the others were undone. */
  get count(): number {
    return this.last;
  }

  /** The last step that counts; undefined before the first. */
  get current(): S | undefined {
    return this.steps[this.count - 1];
  }

  /** All steps, those undone last. */
  get all(): readonly S[] {
    return this.steps;
  }

  /** The steps that count. */
  get done(): readonly S[] {
    return this.steps.slice(0, this.count);
  }

  get canUndo(): boolean {
    return this.count > 0;
  }

  get canRedo(): boolean {
    return this.count < this.steps.length;
  }

  /** Adds a step; what was undone is forgotten. */
  push(step: S): void {
    this.steps.length = this.count;
    this.steps.push(step);
    this.last++;
  }

  /** Takes the last step back, if there is one. */
  undo(): void {
    if (this.canUndo) this.last--;
  }

  /** Does the step again that was taken back last, if there is one. */
  redo(): void {
    if (this.canRedo) this.last++;
  }

  clear(): void {
    this.steps.length = 0;
    this.last = 0;
  }
}
