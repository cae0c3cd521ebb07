/**
 * SwiftShader without root or a package manager: the optional peer `@sparticuz/chromium` carries it, with a
 * Vulkan loader of its own, in an archive of 3.5 MB for Linux on x64.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { unpackOnce } from './cache.js';
import { firstLine } from './dawn.js';
import { readTar } from './tar.js';

const PACKAGE = '@sparticuz/chromium';
const LOADER = 'libvulkan.so.1';
const DRIVER = 'libvk_swiftshader.so';
const MANIFEST = 'vk_swiftshader_icd.json';

export interface SwiftShader {
  /** The folder of the unpacked libraries. */
  folder: string;
  manifest: string;
  loader: string;
}

/** The installed package's root and version, or undefined when it is absent or not for this platform. */
export function swiftShaderPackage(): { root: string; version: string } | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  try {
    // Its exports hide package.json, so walk up from the entry point.
    let root = dirname(createRequire(import.meta.url).resolve(PACKAGE));
    while (!existsSync(join(root, 'bin', 'swiftshader.tar.br'))) {
      if (root === dirname(root)) return undefined;
      root = dirname(root);
    }
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { root, version };
  } catch {
    return undefined;
  }
}

/** Unpacks SwiftShader if need be; a string says why there is none. */
export function unpackSwiftShader(): SwiftShader | string {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `there is none for ${process.platform} on ${process.arch}`;
  const found = swiftShaderPackage();
  if (!found) return `the optional package ${PACKAGE} is not installed`;
  try {
    const folder = unpackOnce(`swiftshader-${found.version}`, () => {
      const archive = brotliDecompressSync(readFileSync(join(found.root, 'bin', 'swiftshader.tar.br')));
      const all = readTar(archive);
      return new Map(
        [LOADER, DRIVER, MANIFEST].map((name) => {
          const data = all.get(name);
          if (!data) throw new Error(`${PACKAGE} ${found.version} has no ${name}`);
          return [name, { data, mode: name === MANIFEST ? 0o644 : 0o755 }];
        }),
      );
    });
    return { folder, manifest: join(folder, MANIFEST), loader: join(folder, LOADER) };
  } catch (error) {
    return `${PACKAGE} could not be unpacked: ${firstLine(error)}`;
  }
}
