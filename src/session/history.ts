/** Steps that can be undone and done again. */
export class History<S> {
  private readonly steps: S[] = [];
  /** Of the steps, those that count; what follows was undone. */
  private count = 0;

  /** The last step that counts; undefined before the first. */
  get current(): S | undefined {
    return this.steps[this.count - 1];
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
    this.count++;
  }

  /** @returns whether there was anything to undo */
  undo(): boolean {
    if (!this.canUndo) return false;
    this.count--;
    return true;
  }

  /** @returns whether there was anything to do again */
  redo(): boolean {
    if (!this.canRedo) return false;
    this.count++;
    return true;
  }

  clear(): void {
    this.steps.length = 0;
    this.count = 0;
  }
}
