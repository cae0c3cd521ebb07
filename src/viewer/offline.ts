/** Keeping the page on this computer, for use without a network: only when a person asks for it. */
import { button, element } from './page.js';

const SCRIPT = 'service-worker.js';

export class Offline {
  constructor(private readonly fail: (error: unknown) => void) {
    if (!('serviceWorker' in navigator)) {
      button('offline').disabled = true;
      this.say('This browser keeps no pages, or not this one: it needs https or localhost.');
      return;
    }
    button('offline').addEventListener('click', () => {
      this.toggle().catch((error: unknown) => {
        this.say('');
        this.fail(error);
      });
    });
    this.show().catch(() => {}); // asked for before anything can have gone wrong with it
  }

  private say(text: string): void {
    element('offline-state').textContent = text;
  }

  private own(): Promise<ServiceWorkerRegistration | undefined> {
    return navigator.serviceWorker.getRegistration(document.baseURI);
  }

  private async show(): Promise<void> {
    const kept = (await this.own()) !== undefined;
    button('offline').setAttribute('aria-pressed', String(kept));
    button('offline').textContent = kept ? 'Keep no longer' : 'Keep for use without a network';
    this.say(kept ? 'Kept: opens without a network.' : '');
  }

  private async toggle(): Promise<void> {
    const kept = await this.own();
    if (kept) {
      await kept.unregister();
      for (const name of await caches.keys()) if (name.startsWith('sgp-sam-page-')) await caches.delete(name);
    } else {
      this.say('Keeping …');
      await navigator.serviceWorker.register(SCRIPT);
      await navigator.serviceWorker.ready;
      // Weights are in the engine's own cache; asked for, they stay when space runs out.
      await navigator.storage?.persist?.().catch(() => false);
    }
    await this.show();
  }
}
