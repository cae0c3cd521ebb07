/** A headless Chromium that offers WebGPU on SwiftShader, found or unpacked without root; or Debian's Firefox, where that is asked for. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import type { ArchivedFile } from '../../src/engine/gpu/node/cache.js';
import { unpackOnce } from '../../src/engine/gpu/node/cache.js';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';
import { readTar } from '../../src/engine/gpu/node/tar.js';

export interface Browser {
  kind: 'chromium' | 'firefox';
  executable: string;
  env: Record<string, string>;
}

const INSTALLED = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Debian's and Ubuntu's names of Firefox. */
const FIREFOX = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];

/** A Firefox that speaks WebDriver BiDi: SGP_SAM_FIREFOX, else the system's; undefined when there is none. */
export function findFirefox(): Browser | undefined {
  const executable = process.env.SGP_SAM_FIREFOX ?? FIREFOX.find((path) => existsSync(path));
  return executable ? { kind: 'firefox', executable, env: {} } : undefined;
}

/** Firefox where SGP_SAM_BROWSER asks for it; SGP_SAM_CHROMIUM, else the one from the optional package, else the system's; undefined when there is none. */
export function findBrowser(): Browser | undefined {
  if (process.env.SGP_SAM_BROWSER === 'firefox') return findFirefox();
  const chosen = process.env.SGP_SAM_CHROMIUM;
  if (chosen) return { kind: 'chromium', executable: chosen, env: {} };
  const found = swiftShaderPackage();
  if (found) return unpackChromium(found.root, found.version);
  const executable = INSTALLED.find((path) => existsSync(path));
  return executable ? { kind: 'chromium', executable, env: {} } : undefined;
}

/**
 * The package is made for a bare server image and also brings what such an image lacks (NSS, NSPR, expat), built
 * against an older libc than Debian 12's. SwiftShader must lie beside the executable.
 */
function unpackChromium(root: string, version: string): Browser {
  const read = (name: string) => brotliDecompressSync(readFileSync(join(root, 'bin', name)));
  const folder = unpackOnce(`chromium-${version}`, () => {
    const files = new Map<string, ArchivedFile>([['chromium', { data: read('chromium.br'), mode: 0o755 }]]);
    for (const archive of ['swiftshader.tar.br', 'al2023.tar.br', 'fonts.tar.br']) {
      for (const [path, data] of readTar(read(archive))) files.set(path, { data, mode: 0o755 });
    }
    return files;
  });
  const libraries = [join(folder, 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { kind: 'chromium', executable: join(folder, 'chromium'), env: { LD_LIBRARY_PATH: libraries } };
}
