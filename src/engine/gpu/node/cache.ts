/** A per-user folder of unpacked archives, safe to share between processes and from other users. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';

export interface ArchivedFile {
  data: Uint8Array;
  mode: number;
}

/** Written last; holds the size of every file, so that a folder someone cleaned out in part is noticed. */
const MANIFEST = 'unpacked.json';

/**
 * Unpacks an archive once per user and returns its folder. `name` must contain the version, for a complete folder is
 * never written again. Unpacking goes to a folder beside it that is then renamed: of several processes at once one
 * wins, and none sees half of it.
 */
export function unpackOnce(name: string, files: () => Map<string, ArchivedFile>): string {
  const root = cacheRoot();
  const target = join(root, name);
  if (isComplete(target)) return target;
  const scratch = mkdtempSync(join(root, `.${name}-`));
  try {
    const fresh = join(scratch, 'fresh');
    writeFiles(fresh, files());
    // A damaged folder is moved aside first. Another process may put a good one there meanwhile: then that one is used.
    for (let attempt = 0; attempt < 3 && !isComplete(target); attempt++) {
      try {
        if (existsSync(target)) renameSync(target, join(scratch, `damaged-${attempt}`));
        renameSync(fresh, target);
      } catch (error) {
        if (attempt === 2) throw error;
      }
    }
    if (!isComplete(target)) throw new Error(`${target} is incomplete right after unpacking`);
    return target;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function writeFiles(folder: string, files: Map<string, ArchivedFile>): void {
  const sizes: Record<string, number> = {};
  mkdirSync(folder);
  for (const [path, { data, mode }] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), data, { mode });
    sizes[path] = data.length;
  }
  writeFileSync(join(folder, MANIFEST), JSON.stringify(sizes));
}

function isComplete(folder: string): boolean {
  try {
    const sizes = JSON.parse(readFileSync(join(folder, MANIFEST), 'utf8')) as Record<string, number>;
    return Object.entries(sizes).every(([path, size]) => statSync(join(folder, path)).size === size);
  } catch {
    return false;
  }
}

/**
 * The temporary folder is shared, and what lies here gets loaded as code: so it must be a real folder of our own that
 * nobody else may write to. If it is not (or cannot be made), the home folder serves.
 */
function cacheRoot(): string {
  const uid = process.getuid?.();
  const candidates = [
    join(tmpdir(), `sgp-sam-${uid ?? userInfo().username}`),
    join(homedir(), '.cache', 'sgp-sam'),
  ];
  for (const folder of candidates) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const stat = lstatSync(folder);
      const ours = uid === undefined || (stat.uid === uid && (stat.mode & 0o022) === 0);
      if (stat.isDirectory() && ours) return folder;
    } catch {
      // the next candidate
    }
  }
  throw new Error(`no folder to unpack to: tried ${candidates.join(' and ')}`);
}
