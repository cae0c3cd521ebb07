/**
 * The page without a network: its own files from a cache that is as old as the build. Registered only when a person asks for it
 * (offline.ts); weights are kept by the engine's own cache, whether this runs or not.
 */
interface Kept extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetched extends Kept {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}
const scope = globalThis as unknown as {
  addEventListener(type: 'install' | 'activate', listen: (event: Kept) => void): void;
  addEventListener(type: 'fetch', listen: (event: Fetched) => void): void;
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  location: Location;
};

const PREFIX = 'sgp-sam-page-';
const CACHE = `${PREFIX}${__BUILD__}`;

scope.addEventListener('install', (event) => {
  const keep = async () => {
    const cache = await caches.open(CACHE);
    // Not what the browser's own cache may hold of an older build.
    await cache.addAll(__FILES__.map((file) => new Request(file, { cache: 'reload' })));
    await scope.skipWaiting();
  };
  event.waitUntil(keep());
});

scope.addEventListener('activate', (event) => {
  const tidy = async () => {
    for (const name of await caches.keys())
      if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
    await scope.clients.claim();
  };
  event.waitUntil(tidy());
});

scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== scope.location.origin) return;
  const answer = async () => {
    const cache = await caches.open(CACHE);
    return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
  };
  event.respondWith(answer());
});
