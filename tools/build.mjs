/**
 * Builds dist: browser.js, client.js, worker.js, niivue.js, cornerstone.js, weights.js and engine.js (each one minified file); formats.js, codecs.js, dicom-seg.js,
 * phantoms.js and pth.js (which they load when they are needed), node.js, engine.node.js, cli.js, types and the viewer. All of it is made beside the old dist,
 * which is replaced at the end, so a failed build leaves that one as it was.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { writeOperations } from './operations.mjs';
import { viewerHeaders } from './viewer-headers.mjs';
import { wgslPlugin } from './wgsl.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const SHIPPED = 'sgp-small.safetensors';

/**
 * Shaders one after another, whatever imports them: they are alike, and gzip looks back over 32 KiB. The imports that a bundle has
 * no use for are dropped.
 */
const shadersFirst = (entry) => ({
  name: 'shaders-first',
  setup(bundler) {
    const first = async () => {
      const files = (await readdir(join(root, 'shaders'))).filter((name) => name.endsWith('.wgsl')).sort();
      return files.map((name, i) => `import shader${i} from '../shaders/${name}';\n`).join('');
    };
    bundler.onLoad({ filter: /\.ts$/ }, async ({ path }) =>
      path === join(root, entry)
        ? { contents: (await first()) + (await readFile(path, 'utf8')), loader: 'ts' }
        : undefined,
    );
  },
});

/**
 * Of gl-matrix only what is used: a bundler keeps all of `mat4`, which is handed on as a whole, and its modules alone cannot
 * be imported in Node.
 */
const slimMatrix = {
  name: 'slim-matrix',
  setup(bundler) {
    const user = join(root, 'src', 'imaging', 'affine.ts');
    bundler.onResolve({ filter: /^gl-matrix$/ }, ({ importer }) =>
      importer === user ? { path: 'mat4', namespace: 'gl-matrix' } : undefined,
    );
    bundler.onLoad({ filter: /./, namespace: 'gl-matrix' }, async () => {
      const used = (await readFile(user, 'utf8')).matchAll(/\bmat4\.(\w+)\(/g);
      const names = [...new Set(Array.from(used, ([, name]) => name))].join(', ');
      const contents = `import { ${names} } from 'gl-matrix/esm/mat4.js'; export const mat4 = { ${names} };`;
      return { contents, loader: 'js', resolveDir: root };
    });
  },
};

/** Node's modules as nothing. */
const noNode = {
  name: 'no-node',
  setup(bundler) {
    bundler.onResolve({ filter: /^(fs|path|crypto)$/ }, ({ path }) => ({ path, namespace: 'nothing' }));
    bundler.onLoad({ filter: /./, namespace: 'nothing' }, () => ({ contents: '' }));
  },
};

/** Parts that load when they are asked for, each a file beside the bundles, by the module that is imported. */
const LATER = {
  'src/imaging/formats/readers.ts': 'formats.js',
  'src/imaging/formats/dicom/wasm-codecs.ts': 'codecs.js',
  'src/imaging/dicom-seg/index.ts': 'dicom-seg.js',
  'src/phantoms/index.ts': 'phantoms.js',
  'src/weights/pth.ts': 'pth.js',
};

/** Leaves `import()` of such a part to run time. */
const loadLater = {
  name: 'load-later',
  setup(bundler) {
    bundler.onResolve({ filter: /^\.\.?\/.*\.js$/ }, ({ path, resolveDir, kind }) => {
      const name = relative(root, join(resolveDir, path)).replace(/\.js$/, '.ts').replaceAll('\\', '/');
      return kind === 'dynamic-import' && LATER[name]
        ? { path: `./${LATER[name]}`, external: true }
        : undefined;
    });
  },
};

/**
 * A shader without comments, indentation, blank lines and most spaces. WGSL has no strings that could look like a comment;
 * `//#` lines are directives (src/engine/kernels/wgsl.ts) and stay.
 */
function stripWgsl(source) {
  let out = '';
  let depth = 0; // block comments nest in WGSL
  for (let i = 0; i < source.length; i++) {
    const pair = source.slice(i, i + 2);
    if (pair === '/*') {
      depth++;
      i++;
    } else if (pair === '*/' && depth > 0) {
      depth--;
      i++;
      if (depth === 0) out += ' ';
    } else if (depth > 0) {
      // inside a comment
    } else if (pair === '//' && source[i + 2] !== '#') {
      const end = source.indexOf('\n', i);
      i = end < 0 ? source.length : end - 1;
    } else {
      out += source[i];
    }
  }
  const lines = out.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '')
    .map((line) => (/^\/\/#/.test(line) ? line : squeeze(line)))
    .join('\n');
}

/**
 * A line without spaces that part nothing: they stay between words, between operators, which could make another one, and
 * beside placeholders ($NAME), whose values may begin with one.
 */
const squeeze = (line) =>
  line.replace(/(?<=(\S)) +(?=(\S))/g, (spaces, a, b) => {
    const both = (kind) => kind.test(a) && kind.test(b);
    return both(/\w/) || both(/[-+*/%&|^<>=!~]/) || a === '$' || b === '$' ? spaces : '';
  });

const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const { version } = manifest;

const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  target: 'es2023',
  logLevel: 'warning',
  metafile: true,
  define: { __VERSION__: JSON.stringify(version) },
};

/** What Node's bundles do not carry: native packages, optional peers of this one. */
const PEERS = Object.keys(manifest.peerDependencies);
/** Some of what is bundled is CommonJS and requires Node's own modules, which a module has no `require` for. */
const REQUIRE = `import { createRequire as sgpSamRequire } from 'node:module';\nconst require = sgpSamRequire(import.meta.url);`;
const nodeLike = {
  ...common,
  platform: 'node',
  external: PEERS,
  plugins: [wgslPlugin(), slimMatrix, loadLater],
};

// platform "browser" makes any import of a Node module an error
const pageLike = {
  ...common,
  platform: 'browser',
  minify: true,
  plugins: [wgslPlugin(stripWgsl), slimMatrix, loadLater],
};

/** Parts for pages and Node alike: decoders are bundled in, and their WebAssembly is carried as bytes. */
const partLike = {
  ...pageLike,
  loader: { '.wasm': 'binary' },
  // Emscripten's glue would read files where there is Node; their bytes are there.
  define: { ...common.define, 'process.type': '"renderer"' },
  plugins: [...pageLike.plugins, noNode],
};

const bundles = [
  { entry: 'src/index.ts', out: 'browser.js', with: pageLike, shaders: true },
  { entry: 'src/client.ts', out: 'client.js', with: pageLike },
  { entry: 'src/session/worker.ts', out: 'worker.js', with: pageLike },
  { entry: 'src/adapters/niivue.ts', out: 'niivue.js', with: pageLike },
  { entry: 'src/adapters/cornerstone.ts', out: 'cornerstone.js', with: pageLike },
  { entry: 'src/weights-url.ts', out: 'weights.js', with: pageLike },
  { entry: 'src/engine.ts', out: 'engine.js', with: pageLike, shaders: true },
  { entry: 'src/engine.node.ts', out: 'engine.node.js', with: nodeLike },
  { entry: 'src/index.node.ts', out: 'node.js', with: nodeLike },
  {
    entry: 'src/cli/main.ts',
    out: 'cli.js',
    with: { ...nodeLike, banner: { js: `#!/usr/bin/env node\n${REQUIRE}` } },
    executable: true,
  },
  // In pages and in Node alike, with all it needs: whoever never asks for it does not download it.
  ...Object.entries(LATER).map(([entry, out]) => ({ entry, out, with: { ...partLike, sourcemap: false } })),
];

const headerLines = Object.entries(viewerHeaders)
  .map(([name, value]) => `  ${name}: ${value}`)
  .join('\n');

async function makeBundle(folder, bundle) {
  const outfile = join(folder, bundle.out);
  const plugins = [...bundle.with.plugins, ...(bundle.shaders ? [shadersFirst(bundle.entry)] : [])];
  const made = await build({ ...bundle.with, plugins, entryPoints: [bundle.entry], outfile });
  const { metafile } = made;
  carry(made);
  if (bundle.with.platform === 'browser') {
    const outside = Object.values(metafile.outputs).flatMap((output) =>
      output.imports.filter((it) => it.external && !Object.values(LATER).includes(it.path.slice(2))),
    );
    if (outside.length > 0)
      throw new Error(`${bundle.out} still imports ${outside.map((it) => it.path).join(', ')}`);
  }
  if (bundle.executable) await chmod(outfile, 0o755);
  const text = await readFile(outfile);
  const size = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
  console.log(
    `${bundle.out.padEnd(12)} ${size(text.length)}, gzipped ${size(gzipSync(text, { level: 9 }).length)}`,
  );
}

/**
 * NiiVue without its gradients: it computes them for lighting the 3D pane, which the viewer does not do, and anew at every change of
 * the window, in as much GPU memory as the scan again.
 */
const withoutGradients = {
  name: 'without-gradients',
  setup(bundler) {
    bundler.onLoad({ filter: /@niivue[\\/]niivue[\\/].*\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const head = 'function gradientGL(params) {';
      if (text.split(head).length !== 2) throw new Error(`${path}: NiiVue's gradientGL is not where it was`);
      return { contents: text.replace(head, `${head}\n  return params.gradientTexture;`), loader: 'js' };
    });
  },
};

/** The viewer: one static folder with all it needs, weights and a sample included; and everybody's licences. Needs node.js. */
async function makeViewer(folder) {
  const out = join(folder, 'viewer');
  const at = (name) => join(root, 'src', 'viewer', name);
  await mkdir(join(out, 'weights'), { recursive: true });
  const weights = await readFile(join(root, 'weights', SHIPPED));
  const sum = createHash('sha256').update(weights).digest('hex');
  const viewer = { ...pageLike, outdir: out };
  const plugins = [...pageLike.plugins, withoutGradients];
  const define = { ...pageLike.define, __WEIGHTS_SHA256__: JSON.stringify(sum) };
  const scripts = ['viewer.ts', 'worker.ts', 'reader.ts'].map(at);
  const made = await Promise.all([
    build({ ...viewer, plugins, define, entryPoints: scripts }),
    build({ ...viewer, entryPoints: [at('viewer.css'), at('lesions.css')] }),
    ...['index.html', 'icon.svg', 'manifest.webmanifest'].map((name) => copyFile(at(name), join(out, name))),
    ...Object.values(LATER).map((name) => copyFile(join(folder, name), join(out, name))),
    copyFile(join(root, 'weights', SHIPPED), join(out, 'weights', SHIPPED)),
  ]);
  carry(made[0]);
  await makeNotices(folder);
  await copyFile(join(folder, 'THIRD_PARTY_LICENSES.txt'), join(out, 'licences.txt'));
  const { makePhantom, writeVolume } = await import(pathToFileURL(join(folder, 'node.js')).href);
  await writeFile(join(out, 'sample.nii.gz'), writeVolume(makePhantom({ seed: 1 }).volume, 'sample.nii.gz'));
  await writeFile(join(out, '_headers'), `/*\n${headerLines}\n`);
  // Last: it knows the digest of all others. The engine keeps the weights itself.
  const files = (await readdir(out)).filter((name) => name !== 'weights' && name !== '_headers').sort();
  const digest = createHash('sha256');
  for (const name of files) digest.update(name).update(await readFile(join(out, name)));
  const kept = {
    ...pageLike.define,
    __BUILD__: JSON.stringify(digest.digest('hex').slice(0, 16)),
    __FILES__: JSON.stringify(['./', ...files]),
  };
  await build({ ...viewer, define: kept, entryPoints: [at('service-worker.ts')] });
  const { size } = await stat(join(out, 'viewer.js'));
  console.log(`${'viewer'.padEnd(12)} viewer.js ${(size / 1024).toFixed(0)} KiB, most of it NiiVue`);
}

/** The entry points' declarations and those they need, by the compiler that also checks them. */
async function makeTypes(folder) {
  const entries = [
    'src/index.ts',
    'src/index.node.ts',
    'src/client.ts',
    'src/session/worker.ts',
    'src/adapters/niivue.ts',
    'src/adapters/cornerstone.ts',
    'src/weights-url.ts',
    'src/engine.ts',
    'src/engine.node.ts',
  ];
  // Whose types are no entry's.
  const ambient = [
    'src/wgsl.d.ts',
    'src/version.d.ts',
    'src/imaging/dicom-seg/dcmjs.d.ts',
    'src/imaging/formats/dicom/packages.d.ts',
  ];
  const config = join(folder, 'tsconfig.json');
  await writeFile(
    config,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        rootDir: join(root, 'src'),
        outDir: 'types',
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        stripInternal: true,
      },
      include: [],
      files: [...entries, ...ambient].map((file) => join(root, file)),
    }),
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', config], { cwd: root });
  await rm(config);
  const types = join(folder, 'types');
  const files = (await readdir(types, { recursive: true })).filter((name) => name.endsWith('.d.ts'));
  for (const name of files) {
    const text = await readFile(join(types, name), 'utf8');
    if (/from '[^']*\.wgsl'|import\("[^"]*\.wgsl"\)/.test(text))
      throw new Error(`types/${name} mentions a shader file`);
    // The public types speak of GPUDevice and the like, which TypeScript's own library does not yet have in full.
    if (/^(index(\.node)?|engine(\.node)?|client)\.d\.ts$/.test(name)) {
      await writeFile(join(types, name), `/// <reference types="@webgpu/types" />\n${text}`);
    }
  }
  console.log(`${'types'.padEnd(12)} ${files.length} declaration files`);
}

/** Other people's packages that went into any bundle. */
const carried = new Set();
const carry = ({ metafile }) => {
  for (const path of Object.keys(metafile.inputs)) {
    const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
    if (name) carried.add(name);
  }
};

/** What the bundles carry of other people's, with their licences (NiiVue is in the viewer alone). */
async function makeNotices(folder) {
  const parts = [];
  for (const name of [...carried].sort()) {
    const at = join(root, 'node_modules', name);
    const { version: of, license, repository } = JSON.parse(await readFile(join(at, 'package.json'), 'utf8'));
    const file = (await readdir(at)).find((entry) => /^licen[cs]e/i.test(entry));
    // NiiVue's package has no such file; its repository does.
    const text = file ? await readFile(join(at, file), 'utf8') : repository?.url;
    if (!text) throw new Error(`${name} has no licence file`);
    parts.push(`${name} ${of} (${license})\n\n${text}`);
  }
  await writeFile(join(folder, 'THIRD_PARTY_LICENSES.txt'), parts.join('\n\n----\n\n'));
}

const started = performance.now();
await writeOperations();
// Not in the system's temporary folder: renaming needs the same file system.
await mkdir(join(root, 'out'), { recursive: true });
const work = await mkdtemp(join(root, 'out', 'build-'));
try {
  const fresh = join(work, 'dist');
  await mkdir(fresh);
  await Promise.all([...bundles.map((bundle) => makeBundle(fresh, bundle)), makeTypes(fresh)]);
  await makeViewer(fresh);
  await replaceDist(fresh);
  console.log(`built in ${((performance.now() - started) / 1000).toFixed(1)} s`);
} catch (error) {
  // esbuild has printed its own errors; tsc's are on its stdout.
  if (error.stdout) console.error(error.stdout);
  else if (!error.errors) console.error(error.message);
  console.error('The build failed; dist is as it was.');
  process.exitCode = 1;
} finally {
  await rm(work, { recursive: true, force: true });
}

async function replaceDist(fresh) {
  for (let attempt = 0; ; attempt++) {
    try {
      if (existsSync(dist)) await rename(dist, join(work, `old-${attempt}`));
      return await rename(fresh, dist);
    } catch (error) {
      // Another build came in between: its dist is then replaced in turn.
      if (attempt === 3) throw error;
    }
  }
}
