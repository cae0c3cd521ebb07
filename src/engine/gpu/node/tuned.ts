/** Where tuned tables are kept between processes: a file per adapter, driver, engine version and features. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readTextBytes } from '../../../base/json.node.js';
import type { AdapterReport, DeviceFeatures } from '../device.js';

/** SGP_SAM_TUNED, else the user's cache folder; `off` keeps and reads nothing. */
function folder(): string | undefined {
  const chosen = process.env.SGP_SAM_TUNED;
  if (chosen === 'off') return undefined;
  return chosen || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sgp-sam', 'tuned');
}

/** The file for an adapter opened with these features, and this version; undefined where none is to be kept. */
export function tunedFile(
  adapter: AdapterReport,
  version: string,
  features: DeviceFeatures = 'all',
): string | undefined {
  const at = folder();
  if (at === undefined) return undefined;
  const { vendor, architecture, device, description } = adapter;
  const opened = features === 'all' ? [] : [features];
  const text = [vendor, architecture, device, description, version, ...opened].join('\n');
  const name = (description || device || 'adapter').replace(/[^\w.]+/g, '-').slice(0, 40);
  return join(at, `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}.json`);
}

/**
 * Its text; undefined where there is none.
 * @throws SgpSamError `bad-file` when it cannot be read
 */
export function readTunedFile(file: string): Uint8Array | undefined {
  if (!existsSync(file)) return undefined;
  return readTextBytes(file, 'Delete it, or let SGP_SAM_TUNED name another folder.');
}
