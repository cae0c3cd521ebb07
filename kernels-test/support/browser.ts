/**
 * A headless Chromium that offers WebGPU on a software adapter, found or unpacked without root; or Debian's Firefox, where that is
 * asked for.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import type { ArchivedFile } from '../../src/engine/gpu/node/cache.js';
import { unpackOnce } from '../../src/engine/gpu/node/cache.js';
import { swiftShaderPackage } from '../../src/engine/gpu/node/swiftshader.js';
import { readTar } from '../../src/engine/gpu/node/tar.js';
import { lavapipeManifest } from '../../src/engine/gpu/node/vulkan.js';

export interface Browser {
  kind: 'chromium' | 'firefox';
  executable: string;
  env: Record<string, string>;
  /** What computes for WebGPU. */
  webgpu: 'swiftshader' | 'lavapipe';
}

const INSTALLED = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Debian's and Ubuntu's names of Firefox. */
const FIREFOX = ['/usr/bin/firefox-esr', '/usr/bin/firefox'];

/** A Firefox that speaks WebDriver BiDi: SGP_SAM_FIREFOX, else the system's; undefined when there is none. */
export function findFirefox(): Browser | undefined {
  const executable = process.env.SGP_SAM_FIREFOX ?? FIREFOX.find((path) => existsSync(path));
  return executable ? { kind: 'firefox', executable, env: {}, webgpu: 'lavapipe' } : undefined;
}

/** Firefox where SGP_SAM_BROWSER asks for it; SGP_SAM_CHROMIUM, else the one from the optional package, else the system's; undefined when there is none. */
export function findBrowser(webgpu?: 'swiftshader'): Browser | undefined {
  if (process.env.SGP_SAM_BROWSER === 'firefox') return findFirefox();
  const chosen = process.env.SGP_SAM_CHROMIUM;
  if (chosen) return { kind: 'chromium', executable: chosen, env: {}, webgpu: 'swiftshader' };
  const found = swiftShaderPackage();
  if (found) return unpackChromium(found.root, found.version, webgpu);
  const executable = INSTALLED.find((path) => existsSync(path));
  return executable ? { kind: 'chromium', executable, env: {}, webgpu: 'swiftshader' } : undefined;
}

/**
 * The package is made for a bare server image and also brings what such an image lacks (NSS, NSPR, expat), built
 * against an older libc than Debian 12's. SwiftShader must lie beside the executable.
 */
function unpackChromium(root: string, version: string, webgpu?: 'swiftshader'): Browser {
  const read = (name: string) => brotliDecompressSync(readFileSync(join(root, 'bin', name)));
  const shim = webgpu ? undefined : lavapipeShim();
  const folder = unpackOnce(`chromium-${version}${shim ? `-${shim.digest}` : ''}`, () => {
    const files = new Map<string, ArchivedFile>([['chromium', { data: read('chromium.br'), mode: 0o755 }]]);
    for (const archive of ['swiftshader.tar.br', 'al2023.tar.br', 'fonts.tar.br']) {
      for (const [path, data] of readTar(read(archive))) files.set(path, { data, mode: 0o755 });
    }
    if (shim) putBefore(files, shim.library());
    return files;
  });
  const libraries = [join(folder, 'lib'), process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  const env = { LD_LIBRARY_PATH: libraries };
  return {
    kind: 'chromium',
    executable: join(folder, 'chromium'),
    env,
    webgpu: shim ? 'lavapipe' : 'swiftshader',
  };
}

/** WebGPU opens SwiftShader's library by its name, which is the shim's now; WebGL finds it by its manifest. */
function putBefore(files: Map<string, ArchivedFile>, shim: Buffer): void {
  const [library, moved, manifest] = ['libvk_swiftshader.so', 'libvk_real.so', 'vk_swiftshader_icd.json'];
  const [real, found] = [files.get(library), files.get(manifest)];
  if (!real || !found) throw new Error('the package of Chromium has no SwiftShader where it was');
  files.set(moved, real);
  files.set(library, { data: shim, mode: 0o755 });
  const text = Buffer.from(found.data).toString().replace(library, moved);
  files.set(manifest, { data: Buffer.from(text), mode: 0o644 });
}

const SHIM = 'kernels-test/support/lavapipe-in-chromium.c';
let said = false;

/**
 * What makes Chromium compute on lavapipe, where the tests do: it computes faster than SwiftShader and keeps compiled shaders on
 * disk. Undefined, and why is printed, where it cannot be built.
 */
function lavapipeShim(): { digest: string; library(): Buffer } | undefined {
  if (process.env.SGP_SAM_ADAPTER !== 'lavapipe') return undefined;
  const driver = lavapipeManifest();
  const headers = existsSync('/usr/include/vulkan/vulkan.h');
  const gcc = spawnSync('gcc', ['--version']).status === 0;
  if (!driver || !headers || !gcc) {
    const what = driver ? 'gcc and libvulkan-dev, which are not both there' : 'a lavapipe of the system';
    if (!said) console.log(`pages are on SwiftShader: lavapipe in Chromium takes ${what}`);
    said = true;
    return undefined;
  }
  const { library_path: name } = JSON.parse(readFileSync(driver, 'utf8')).ICD as { library_path: string };
  const path = name.includes('/') ? resolve(dirname(driver), name) : name;
  const digest = createHash('sha256').update(readFileSync(SHIM)).update(path).digest('hex').slice(0, 12);
  const library = () => {
    const scratch = mkdtempSync(join(tmpdir(), 'sgp-sam-shim-'));
    try {
      const out = join(scratch, 'shim.so');
      const flags = ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', `-DLAVAPIPE=${JSON.stringify(path)}`];
      execFileSync('gcc', [...flags, '-o', out, resolve(SHIM), '-ldl'], { stdio: 'pipe' });
      return readFileSync(out);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  };
  return { digest, library };
}
