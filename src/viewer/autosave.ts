/** Sessions in the browser's storage, by the digest of their scan: what is there after a crash. */
import { sha256 } from '../base/sha256.js';
import type { GateSetting } from '../engine/graph/regions.js';
import type { Vec3 } from '../imaging/types.js';
import type { NewLesion } from './lesions.js';
import type { ScanFiles } from './scan-files.js';

/** A session as it is kept. */
export interface KeptSession {
  /** Begins with the time when it began, so that keys are in its order. */
  readonly key: string;
  readonly digest: string;
  /** When it was kept last, ms since 1970. */
  readonly saved: number;
  readonly name: string;
  readonly dims: Vec3;
  readonly channel: number;
  readonly weights: string;
  readonly gates: readonly GateSetting[];
  /** Their states have no `mask` and no cube: the crop is enough. */
  readonly lesions: readonly NewLesion[];
}

/** More are not kept; the oldest go. */
const MOST = 30;
/** Larger files are known by parts of them. */
const WHOLE = 256 * 2 ** 20;
const PARTS = 64;
const PART = 2 ** 18;
/** So much of both ends of each file, where several are larger than that together: what tells slices apart is their headers. */
const END = 2 ** 14;

/**
 * What a file is known by: the SHA-256 of its bytes, in hexadecimal digits; of a file larger than 256 MiB that of its length, its first and
 * last bytes and 62 more parts spread evenly, so that a large scan is not read twice.
 */
export async function digestOf(file: Blob): Promise<string> {
  let bytes: BufferSource;
  if (file.size <= WHOLE) bytes = await file.arrayBuffer();
  else {
    const parts = Array.from({ length: PARTS }, (_, n) => {
      const from = Math.round(((file.size - PART) * n) / (PARTS - 1));
      return file.slice(from, from + PART);
    });
    bytes = await new Blob([`${file.size} `, ...parts]).arrayBuffer();
  }
  return sha256(bytes);
}

/**
 * What a scan is known by: its file's digest; of several files, or of one series of those that they hold, the digest of their digests
 * in the order of their names, and of the series' number. Where files are larger than 256 MiB together, of each its length and both ends.
 */
export async function digestOfScan(files: ScanFiles, series: number | undefined): Promise<string> {
  const all = files instanceof File ? [files] : files;
  const known: { readonly name: string; readonly digest: string }[] = [];
  // One after the other: a series of a thousand slices is not in memory at once.
  const large = all.length > 1 && all.reduce((sum, { size }) => sum + size, 0) > WHOLE;
  for (const file of all) {
    const told = large
      ? new Blob([`${file.size} `, file.slice(0, END), file.slice(Math.max(END, file.size - END))])
      : file;
    known.push({ name: file.name, digest: await digestOf(told) });
  }
  const [one] = known;
  if (one && known.length === 1 && series === undefined) return one.digest;
  // Folders may hold files of one name.
  const before = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  known.sort((a, b) => before(a.name, b.name) || before(a.digest, b.digest));
  return sha256(new TextEncoder().encode([...known.map(({ digest }) => digest), series ?? ''].join(' ')));
}

const NAME = 'sgp-sam-sessions';

const answered = <R>(request: IDBRequest<R>): Promise<R> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Keeps sessions; a browser that keeps nothing (a private window, full storage) is no error, and is said once. */
export class Autosave {
  private opening: Promise<IDBDatabase> | undefined;
  private failed = false;

  /** @param complain told when nothing can be kept */
  constructor(private readonly complain: (error: unknown) => void) {}

  private async sessions<R>(
    mode: IDBTransactionMode,
    act: (store: IDBObjectStore) => Promise<R>,
  ): Promise<R | undefined> {
    if (this.failed) return undefined;
    try {
      this.opening ??= new Promise((resolve, reject) => {
        const request = indexedDB.open(NAME, 1);
        request.onupgradeneeded = () => {
          request.result.createObjectStore('sessions', { keyPath: 'key' }).createIndex('digest', 'digest');
        };
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      const database = await this.opening;
      const transaction = database.transaction('sessions', mode);
      const done = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onerror = transaction.onabort = () => reject(transaction.error);
      });
      const result = await act(transaction.objectStore('sessions'));
      await done;
      return result;
    } catch (error) {
      this.failed = true;
      this.complain(error);
      return undefined;
    }
  }

  /** Keeps a session in place of the one of the same key. */
  async keep(session: KeptSession): Promise<void> {
    await this.sessions('readwrite', async (store) => {
      await answered(store.put(session));
      // In the order in which they began.
      const keys = await answered(store.getAllKeys());
      for (const key of keys.slice(0, Math.max(0, keys.length - MOST))) await answered(store.delete(key));
    });
  }

  /** The last session of a scan. */
  async last(digest: string): Promise<KeptSession | undefined> {
    const found = await this.sessions('readonly', (store) =>
      answered(store.index('digest').getAll(digest) as IDBRequest<KeptSession[]>),
    );
    return found?.sort((a, b) => b.saved - a.saved)[0];
  }

  /** The one that began last of all. */
  async newest(): Promise<KeptSession | undefined> {
    return this.sessions('readonly', async (store) => {
      const cursor = await answered(store.openCursor(null, 'prev'));
      return cursor?.value as KeptSession | undefined;
    });
  }

  async forget(key: string): Promise<void> {
    await this.sessions('readwrite', (store) => answered(store.delete(key)));
  }
}
