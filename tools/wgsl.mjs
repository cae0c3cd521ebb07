/** How a `.wgsl` file becomes a module: its name, its text, and the modules of the files that it includes. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';

/**
 * @param path the file
 * @param text its text, or what is left of it
 * @returns a module whose default export is a `ShaderSource` (src/engine/kernels/wgsl.ts)
 */
export function wgslModule(path, text) {
  const included = [...new Set(Array.from(text.matchAll(/^\s*\/\/#include\s+(\S+)/gm), ([, file]) => file))];
  const imports = included.map((file, i) => `import i${i} from './${file}';\n`).join('');
  const includes = included.map((file, i) => `${JSON.stringify(file)}: i${i}`).join(', ');
  const name = JSON.stringify(basename(path, '.wgsl'));
  return `${imports}export default { name: ${name}, text: ${JSON.stringify(text)}, includes: { ${includes} } };`;
}

/** For esbuild; `strip` is given each text. */
export const wgslPlugin = (strip = (text) => text) => ({
  name: 'wgsl',
  setup(bundler) {
    bundler.onLoad({ filter: /\.wgsl$/ }, async ({ path }) => ({
      contents: wgslModule(path, strip(await readFile(path, 'utf8'))),
      loader: 'js',
    }));
  },
});
