/** Work that takes a while: shown as it goes, stopped on request, failures in words. */
import { type Progress, SgpSamError } from '../base/errors.js';
import { Queue } from '../base/queue.js';
import { button, element } from './page.js';

const NAMES: Record<string, string> = {
  download: 'Downloading weights',
  weights: 'Loading weights',
  files: 'Looking through the files',
  volume: 'Reading the scan',
  compile: 'Compiling for this GPU',
  encode: 'Reading the cube',
  profile: 'Profiling',
};
/** Shorter work is not worth a bar. */
const SHOW_AFTER_MS = 150;

export interface Work {
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Who else shows how far work is. */
export interface Watcher {
  /** @param part 0 to 1; undefined while it is unknown */
  progress(part: number | undefined): void;
  ended(): void;
}

export class Tasks {
  watcher: Watcher | undefined;
  private controller: AbortController | undefined;
  private readonly queue = new Queue();
  private waiting = 0;
  private stage = '';
  private began = 0;
  private done = 0;

  constructor() {
    button('cancel').addEventListener('click', () => this.controller?.abort());
  }

  /** Whether anything is under way. */
  get busy(): boolean {
    return this.waiting > 0;
  }

  /** Runs one thing after the other. Resolves with undefined when it failed or was stopped, which the page then says. */
  run<R>(name: string, work: (work: Work) => Promise<R>): Promise<R | undefined> {
    this.waiting++;
    // What went wrong before is read, or it would not be done.
    element('error').hidden = true;
    document.body.setAttribute('aria-busy', 'true');
    return this.queue.run(() => this.runNow(name, work));
  }

  private async runNow<R>(name: string, work: (work: Work) => Promise<R>): Promise<R | undefined> {
    const controller = new AbortController();
    this.controller = controller;
    this.show(name);
    const timer = setTimeout(() => {
      element('work').hidden = false;
    }, SHOW_AFTER_MS);
    try {
      return await work({ signal: controller.signal, progress: (event) => this.report(event) });
    } catch (error) {
      if (error instanceof SgpSamError && error.code === 'aborted') this.say('Stopped.');
      else this.fail(error);
      return undefined;
    } finally {
      clearTimeout(timer);
      element('work').hidden = true;
      this.watcher?.ended();
      this.controller = undefined;
      if (--this.waiting === 0) document.body.removeAttribute('aria-busy');
    }
  }

  private show(name: string): void {
    this.stage = '';
    element('work-name').textContent = `${name} …`;
    element('work-left').textContent = '';
    element<HTMLProgressElement>('progress').removeAttribute('value');
  }

  private report({ stage, done, total }: Parameters<Progress>[0]): void {
    // A cube that is encoded after another begins anew.
    if (stage !== this.stage || done < this.done) {
      this.stage = stage;
      this.began = performance.now();
    }
    this.done = done;
    const bar = element<HTMLProgressElement>('progress');
    element('work-name').textContent = `${NAMES[stage] ?? stage} …`;
    if (total > 0) {
      bar.max = total;
      bar.value = done;
      const left = ((performance.now() - this.began) * (total - done)) / Math.max(done, 1) / 1000;
      element('work-left').textContent = left >= 1 ? `about ${Math.ceil(left)} s left` : '';
    } else bar.removeAttribute('value');
    this.watcher?.progress(total > 0 ? done / total : undefined);
  }

  say(text: string): void {
    element('status').textContent = text;
  }

  fail(error: unknown): void {
    const line = element('error');
    line.hidden = false;
    line.textContent = error instanceof Error ? error.message : String(error);
    if (!(error instanceof SgpSamError)) console.error(error);
  }
}
