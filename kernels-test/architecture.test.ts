/** Who may import whom: one direction only, and nothing of Node's where a page must run it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Import, importsBelow, importsOf, sourceFiles, withoutComments } from '../tools/imports.js';
import { modulesSvg } from '../tools/modules.js';

const root = process.cwd();
const src = path.join(root, 'src');

/**
 * Every folder of src and what it may import, from the outside in: besides the base, itself and packages, only what is listed,
 * and so only what stands below it. docs/modules.svg is drawn from the same imports.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  cli: [
    'nn',
    'parity',
    'evaluation',
    'training',
    'session',
    'sam',
    'phantoms',
    'imaging',
    'report',
    'weights',
    'engine',
  ],
  viewer: ['session', 'sam', 'adapters', 'report', 'imaging', 'engine'],
  adapters: ['imaging'],
  parity: ['training', 'sam', 'nn', 'imaging', 'weights', 'engine'],
  evaluation: ['training', 'session', 'sam', 'phantoms', 'imaging', 'report'],
  session: ['sam', 'imaging', 'weights', 'engine'],
  training: ['sam', 'nn', 'phantoms', 'imaging', 'weights', 'report', 'engine'],
  phantoms: ['imaging'],
  sam: ['nn', 'weights', 'engine'],
  nn: ['engine'],
  report: ['engine'],
  engine: [],
  imaging: [],
  weights: [],
};
/** Within the engine: dispatches on a device below, graphs of operations above. */
const ENGINE: Readonly<Record<string, readonly string[]>> = {
  profiler: ['ops', 'graph', 'kernels', 'gpu'],
  autograd: ['ops', 'graph'],
  ops: ['graph', 'kernels'],
  graph: ['kernels', 'gpu'],
  kernels: ['gpu'],
  gpu: [],
};

const sources = sourceFiles(src);
const nameOf = (file: string): string => path.relative(root, file).split(path.sep).join('/');
const imports: Import[] = importsBelow(root);

/** `session` of `src/session/zoom.ts`; undefined for files directly in src and for packages. */
const folderOf = (name: string): string | undefined => /^src\/([^/]+)\//.exec(name)?.[1];
const engineFolderOf = (name: string): string | undefined => /^src\/engine\/([^/]+)\//.exec(name)?.[1];
const show = ({ from, target }: Import): string => `${from} → ${target}`;

describe('reading imports', () => {
  it('sees every form and no comment', () => {
    const text = [
      "import a from './a.js';",
      "import type { B } from '../b.js';",
      'import {\n  type C,\n  d,\n} from "./c.js";',
      "import './side.js';",
      "export * from './e.js';",
      "export { f } from './f.js';",
      "const g = await import('./g.js');",
      "// import h from './h.js';",
      "/* import i from './i.js'; */",
      "const text = 'from nowhere';",
      "new Worker(new URL('./worker.js', import.meta.url));",
    ].join('\n');
    expect(importsOf(text).sort()).toEqual(
      ['../b.js', './a.js', './c.js', './e.js', './f.js', './g.js', './side.js', './worker.js'].sort(),
    );
  });

  it('finds the sources', () => {
    expect(sources.length).toBeGreaterThan(60);
    expect(imports.length).toBeGreaterThan(150);
    // A relative import that resolves to nothing would escape every rule below.
    const missing = imports.filter(({ target }) => {
      if (!target.startsWith('src/') && !target.startsWith('shaders/') && !target.startsWith('..'))
        return false;
      return ![target, target.replace(/\.js$/, '.ts'), target.replace(/\.js$/, '.tsx')].some((f) =>
        existsSync(path.join(root, f)),
      );
    });
    expect(missing.map(show)).toEqual([]);
  });
});

describe('imports', () => {
  it('every folder of src has its place, and every place a folder', () => {
    const folders = (at: string) =>
      readdirSync(at, { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => e.name);
    expect(folders(src).sort()).toEqual([...Object.keys(MAY_IMPORT), 'base'].sort());
    expect(folders(path.join(src, 'engine')).sort()).toEqual(Object.keys(ENGINE).sort());
  });

  it('go only where the tables say', () => {
    const wrong = imports.filter(({ from, target }) => {
      const [a, b] = [folderOf(from), folderOf(target)];
      if (!a || !b || a === b) return false;
      return a === 'base' || (b !== 'base' && !MAY_IMPORT[a]?.includes(b));
    });
    const within = imports.filter(({ from, target }) => {
      const [a, b] = [engineFolderOf(from), engineFolderOf(target)];
      return a && b && a !== b && !ENGINE[a]?.includes(b);
    });
    expect([...wrong, ...within].map(show)).toEqual([]);
  });

  it('the tables point one way: no folder is reached from what it may import', () => {
    for (const table of [MAY_IMPORT, ENGINE]) {
      const below = (name: string): string[] => (table[name] ?? []).flatMap((n) => [n, ...below(n)]);
      for (const name of Object.keys(table)) expect(below(name), name).not.toContain(name);
    }
  });

  it('docs/modules.svg shows them as they are', () => {
    // When this fails: node tools/architecture.mjs
    expect(readFileSync('docs/modules.svg', 'utf8')).toBe(modulesSvg(root));
  });

  it('the entry points are imported by nobody', () => {
    expect(imports.filter(({ target }) => /^src\/index(\.node)?\.js$/.test(target)).map(show)).toEqual([]);
  });

  it('the engine knows neither SAM nor medicine, not even by name', () => {
    const words = /\b(lesion|nifti|tumou?r|(?<!sgp-)sam|sgpm|med3d)\b/i;
    const named = sources.filter(
      (file) =>
        nameOf(file).startsWith('src/engine/') && words.test(withoutComments(readFileSync(file, 'utf8'))),
    );
    expect(named.map(nameOf)).toEqual([]);
  });

  it('src/base/errors imports nothing', () => {
    expect(imports.filter(({ from }) => from === 'src/base/errors.ts').map(show)).toEqual([]);
  });

  it('nothing leaves src but to the shaders, and one address to the weights', () => {
    const outside = imports.filter(
      ({ target }) =>
        target.startsWith('..') ||
        (/^[^@]+\//.test(target) && existsSync(path.join(root, target)) && !target.startsWith('src/')),
    );
    expect(outside.filter(({ target }) => !target.startsWith('shaders/')).map(show)).toEqual([
      'src/weights-url.ts → weights/sgp-small.safetensors',
    ]);
  });

  it('no file imports itself in a circle', () => {
    const graph = new Map<string, string[]>();
    for (const { from, target } of imports) {
      const file = target.replace(/\.js$/, '.ts');
      if (file.startsWith('src/')) graph.set(from, [...(graph.get(from) ?? []), file]);
    }
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, trail: string[]) => {
      const at = trail.indexOf(file);
      if (at >= 0) {
        // Types of the same folder may know each other; across folders nothing goes round.
        const circle = trail.slice(at);
        if (new Set(circle.map(folderOf)).size > 1) circles.push([...circle, file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe('an index', () => {
  it('is asserted to hold something only where elements may be undefined', () => {
    const asserted = sources.filter((file) => /\]!(?!=)/.test(withoutComments(readFileSync(file, 'utf8'))));
    expect(asserted.map(nameOf).sort()).toEqual([
      'src/imaging/formats/readers.ts', // files of no known format
      'src/weights/pickle.ts', // Python's None
    ]);
  });
});

describe('Node', () => {
  const mayUseNode = (name: string): boolean =>
    /\.node\.ts$/.test(name) || /^src\/(engine\/gpu\/node|cli)\//.test(name);
  const builtin =
    /^(node:|(fs|path|os|url|util|zlib|crypto|child_process|worker_threads|module|buffer|stream|process|http|https|events|timers)(\/|$))/;

  it('is imported by *.node.ts, src/engine/gpu/node and src/cli alone', () => {
    expect(imports.filter(({ from, target }) => builtin.test(target) && !mayUseNode(from)).map(show)).toEqual(
      [],
    );
  });

  it('is not reached from what a page loads, nor is the webgpu package', () => {
    const seen = new Set<string>();
    const reached: string[] = [];
    const walk = (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const one of imports.filter(({ from }) => from === file)) {
        if (builtin.test(one.target) || one.target === 'webgpu') reached.push(show(one));
        if (one.target.startsWith('src/')) walk(one.target.replace(/\.js$/, '.ts'));
      }
    };
    for (const entry of [
      'src/index.ts',
      'src/client.ts',
      'src/session/worker.ts',
      'src/adapters/niivue.ts',
      'src/adapters/cornerstone.ts',
      'src/weights-url.ts',
      'src/viewer/viewer.ts',
    ])
      walk(entry);
    expect(seen.size).toBeGreaterThan(3);
    expect(reached).toEqual([]);
    expect([...seen].filter(mayUseNode)).toEqual([]);
  });
});

describe('operations', () => {
  it('src/engine/ops/index.ts lists every file that defines one: npm run build writes it', () => {
    const folder = path.join(src, 'engine/ops');
    const defining = readdirSync(folder).filter(
      (name) => name !== 'index.ts' && /\bdefineOp\b/.test(readFileSync(path.join(folder, name), 'utf8')),
    );
    const listed = importsOf(readFileSync(path.join(folder, 'index.ts'), 'utf8'));
    expect(listed.sort()).toEqual(defining.map((name) => `./${name.replace(/\.ts$/, '.js')}`).sort());
  });
});

describe('shaders', () => {
  const folder = path.join(root, 'shaders');
  const all = readdirSync(folder).filter((name) => name.endsWith('.wgsl'));
  const imported = imports.filter(({ target }) => target.startsWith('shaders/'));

  it('every kernel is planned in one place, beside its operation', () => {
    const homes = new Map<string, string[]>();
    for (const { from, target } of imported)
      homes.set(path.basename(target), [...(homes.get(path.basename(target)) ?? []), from]);
    const kernels = all.filter((name) => /@compute/.test(readFileSync(path.join(folder, name), 'utf8')));
    expect([...homes.keys()].sort()).toEqual(kernels.sort());
    // These are two operations': over tokens, and over windows with relative positions.
    const shared = [...homes].filter(([, from]) => from.length > 1).map(([name]) => name);
    expect(shared.sort()).toEqual(['attention.wgsl', 'attention_tiled.wgsl']);
  });

  it('every include is a file, and every file is a kernel or included by one', () => {
    const texts = new Map(all.map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]));
    const included = new Set<string>();
    for (const [name, text] of texts) {
      for (const match of text.matchAll(/^\s*\/\/#include\s+(\S+)/gm)) {
        expect(texts.has(match[1]), `${name} includes ${match[1]}`).toBe(true);
        included.add(match[1]);
      }
    }
    const kernels = [...texts].filter(([, text]) => /@compute/.test(text)).map(([name]) => name);
    expect(all.filter((name) => !kernels.includes(name) && !included.has(name))).toEqual([]);
  });

  it('every file says first what it computes', () => {
    for (const name of all) {
      const [first] = readFileSync(path.join(folder, name), 'utf8').split('\n');
      expect(first, name).toMatch(/^\/\/ \S.{10}/);
    }
  });
});
