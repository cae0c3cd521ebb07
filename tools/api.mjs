/**
 * The API reference, from the docstrings of what the package's entry points export:
 *
 *     npm run docs                                out/api/*.html, a page an entry point
 *     node tools/api.mjs --check [FILE…]          names without a docstring, and exit 1 if there are any
 *
 * It asks the compiler that also checks the types. (TypeDoc reads TypeScript up to 6 through an interface that TypeScript 7 has
 * no more; a second compiler beside the first would be a second opinion about the same sources.)
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as is from 'typescript/unstable/ast/is';
import { API, SymbolFlags } from 'typescript/unstable/sync';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = path.join(root, 'out', 'api');
const { values, positionals } = parseArgs({
  options: { check: { type: 'boolean' } },
  allowPositionals: true,
});

/** The sources of every entry point of package.json, by the name that one imports. */
async function entryPoints() {
  const { name, exports } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const source = ({ types }) => types.replace('./dist/types', 'src').replace(/\.d\.ts$/, '.ts');
  return Object.entries(exports)
    .filter(([, target]) => typeof target === 'object')
    .map(([at, target]) => ({
      name: path.posix.join(name, at),
      files: 'types' in target ? [source(target)] : Object.values(target).map(source),
    }));
}

const KINDS = [
  ['Functions', SymbolFlags.Function],
  ['Classes', SymbolFlags.Class],
  ['Values', SymbolFlags.Variable],
  ['Types', SymbolFlags.Interface | SymbolFlags.TypeAlias],
];
const METHOD = SymbolFlags.Method | SymbolFlags.GetAccessor | SymbolFlags.SetAccessor;

const api = new API({ cwd: root });
const [project] = api.updateSnapshot({ openProject: path.join(root, 'tsconfig.json') }).getProjects();
const { checker, program } = project;

const hidden = (node) => {
  const text = node.getText();
  return (
    /^(private|protected)\b|^#/.test(text) || node.jsDoc?.some((doc) => /@internal\b/.test(doc.getText()))
  );
};

/** A declaration as a reader needs it: without bodies, initialisers that are no types, and what is private. */
function signature(node) {
  const text = node.getSourceFile().text;
  const until = (end) =>
    text
      .slice(node.getStart(), end)
      .replace(/^export\s+/, '')
      .trimEnd();
  if (is.isClassDeclaration(node)) return `${until(node.members.pos).replace(/\s*\{?$/, '')} { … }`;
  if (is.isVariableDeclaration(node))
    return `const ${node.name.text}: ${node.type ? node.type.getText() : checker.typeToString(checker.getTypeAtLocation(node), node)}`;
  if ('body' in node && node.body) {
    const head = until(node.body.getStart());
    const type = node.type
      ? undefined
      : checker.getReturnTypeOfSignature(checker.getSignatureFromDeclaration(node));
    return type && !is.isConstructorDeclaration(node) ? `${head}: ${checker.typeToString(type, node)}` : head;
  }
  return until(node.end);
}

/** Of a symbol's first docstring: the text, and its tags as they are written (the compiler's own lose a code's first quote). */
function docOf(symbol) {
  const text = checker.getDocumentationCommentOfSymbol(symbol);
  const node = symbol.declarations[0]?.resolve(project);
  // A variable's is its statement's.
  const owner = [node, node?.parent, node?.parent?.parent].find((one) => one?.jsDoc?.length > 0);
  const lines = (owner?.jsDoc.at(-1).getText() ?? '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*( |\/$)?/, ''));
  const tags = lines
    .join('\n')
    .split(/^@(?=\w)/m)
    .slice(1)
    .map((tag) => /^(\w+)\s*([\s\S]*?)\s*$/.exec(tag));
  return { text, tags: tags.map(([, name, of]) => ({ name, text: of })) };
}

/** What of a class is public, in the order of the source; an interface shows its members in its own text. */
function membersOf(symbol, declaration) {
  if (!declaration || !(is.isClassDeclaration(declaration) || is.isInterfaceDeclaration(declaration)))
    return [];
  // What a class implements says what its methods do.
  const promised = (declaration.heritageClauses ?? [])
    .flatMap((clause) => [...clause.types])
    .map((type) => checker.getTypeAtLocation(type));
  const inherited = (name) =>
    promised
      .map((type) => type && checker.getPropertyOfType(type, name))
      .find((one) => one && docOf(one).text !== '');
  return [...symbol.getMembers().values(), ...(symbol.getExports?.().values() ?? [])]
    .filter((member) => member.flags & (METHOD | SymbolFlags.Property))
    .flatMap((member) => {
      const node = member.declarations[0]?.resolve(project);
      if (!node || hidden(node)) return [];
      const doc = docOf(member);
      const from = doc.text === '' ? inherited(member.name) : undefined;
      return [
        {
          name: member.name,
          method: (member.flags & METHOD) !== 0 || is.isMethodSignatureDeclaration(node),
          doc: from ? docOf(from) : doc,
          text: signature(node),
        },
      ];
    });
}

function describe(name, exported) {
  const symbol = exported.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const node = symbol.declarations[0]?.resolve(project);
  if (!node) throw new Error(`${name} has no declaration that can be read`);
  const file = node.getSourceFile();
  return {
    name,
    kind: KINDS.find(([, flags]) => symbol.flags & flags)?.[0] ?? 'Values',
    doc: docOf(symbol),
    isClass: is.isClassDeclaration(node),
    text: signature(node),
    members: membersOf(symbol, node),
    at: `${path.relative(root, file.fileName)}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`,
  };
}

/** A name; of a module that is exported as one (`export * as ops`), its first comment, and every name in it. */
function describeAll(name, exported) {
  const symbol = exported.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const node = symbol.declarations[0]?.resolve(project);
  const one = describe(name, exported);
  if (!node || !is.isSourceFile(node)) return [one];
  const text = /^\/\*\*([\s\S]*?)\*\//.exec(node.text)?.[1] ?? '';
  const doc = { text: text.replace(/^\s*\* ?/gm, '').trim(), tags: [] };
  const within = checker
    .getExportsOfModule(symbol)
    .flatMap((each) => describeAll(`${name}.${each.name}`, each));
  return [{ ...one, doc, text: `import * as ${name}` }, ...within];
}

function sourceOf(file) {
  const source = program.getSourceFile(path.resolve(root, file));
  if (!source) throw new Error(`${file} is not in tsconfig.json`);
  return source;
}

function exportsOf(file) {
  const source = sourceOf(file);
  const module = checker.getSymbolAtLocation(source);
  // A script that exports nothing (the worker's) has no symbol.
  return module ? checker.getExportsOfModule(module).flatMap((one) => describeAll(one.name, one)) : [];
}

function undocumented(names) {
  return names.flatMap(({ name, doc, members, at }) => [
    ...(doc.text === '' ? [`${at}: ${name}`] : []),
    ...members.filter((one) => one.method && one.doc.text === '').map((one) => `${at}: ${name}.${one.name}`),
  ]);
}

const html = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const inline = (text) =>
  html(text)
    .replace(/`([^`]+)`/g, '<code>$1</code>')
    .replace(
      /\{@link ([^}|]+)[^}]*\}/g,
      (_, name) => `<a href="#${name.split('.')[0]}"><code>${name}</code></a>`,
    );
const paragraphs = (text) =>
  text
    .split(/\n\s*\n/)
    .map((one) => `<p>${inline(one)}</p>`)
    .join('');

const STYLE = `:root{color-scheme:light dark;--line:#8885;--soft:#8881;--link:light-dark(#1a4f9c,#8ab4f8)}
body{font:15px/1.5 system-ui,sans-serif;margin:0;display:grid;grid-template-columns:15rem minmax(0,60rem);gap:2rem}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;box-sizing:border-box;border-right:1px solid var(--line);font-size:13px}
nav a{display:block}main{padding:1rem 1rem 4rem}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
pre{background:var(--soft);padding:.7rem;white-space:pre-wrap;border-radius:5px;font-size:13px}section{border-top:1px solid var(--line)}
dt{font:13px ui-monospace,monospace;margin-top:.8rem;white-space:pre-wrap}dd{margin:0 0 0 1.5rem}dd p{margin:.2rem 0}small{opacity:.7}
@media(max-width:50rem){body{display:block}nav{position:static;height:auto}}`;

/** A signature in which every name of the page leads to its place. */
const linked = (text, names, own) =>
  html(text).replace(/\b[A-Za-z]\w*\b/g, (word) =>
    word !== own && names.has(word) ? `<a href="#${word}">${word}</a>` : word,
  );

function docHtml({ text, tags }) {
  const rows = tags
    .filter(({ name }) => name !== 'internal')
    .map(({ name, text: of }) => {
      const [, what, rest] = /^(\S+)\s*([\s\S]*)$/.exec(name === 'param' ? of : '') ?? [];
      return what
        ? `<dt>${html(what)}</dt><dd>${inline(rest)}</dd>`
        : `<dt>${name}</dt><dd>${inline(of)}</dd>`;
    });
  return paragraphs(text) + (rows.length > 0 ? `<dl>${rows.join('')}</dl>` : '');
}

function page(entry, names, all) {
  const known = new Set(names.map(({ name }) => name));
  const groups = KINDS.map(([kind]) => [kind, names.filter((one) => one.kind === kind)]).filter(
    ([, of]) => of.length > 0,
  );
  const nav = groups
    .map(([kind, of]) => `<h4>${kind}</h4>${of.map(({ name }) => `<a href="#${name}">${name}</a>`).join('')}`)
    .join('');
  const body = groups
    .flatMap(([, of]) => of)
    .map(({ name, doc, text, members, isClass, at, only }) => {
      const list = isClass
        ? `<dl>${members.map((one) => `<dt>${linked(one.text, known, name)}</dt><dd>${docHtml(one.doc)}</dd>`).join('')}</dl>`
        : '';
      return `<section id="${name}"><h3>${name} <small>${html(at)}${only ? `, ${only}` : ''}</small></h3>
${docHtml(doc)}<pre>${linked(text, known, name)}</pre>${list}</section>`;
    })
    .join('\n');
  const others = all.map((one) => `<a href="${fileOf(one)}">${one.name}</a>`).join('');
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${entry.name}</title><style>${STYLE}</style><nav>${others}${nav}</nav><main><h1>${entry.name}</h1>
${intro(entry.files)}
${body}</main></html>\n`;
}

/** What an entry point's files say first. */
const intro = (files) =>
  files
    .map((file) => /^\/\*\*([\s\S]*?)\*\//.exec(sourceOf(file).text)?.[1] ?? '')
    .map((text) => paragraphs(text.replace(/^\s*\* ?/gm, '').trim()))
    .join('');

const fileOf = ({ name }) => `${name.replaceAll('/', '-')}.html`;

/** The names of an entry point; one that a page has and Node has not, or the other way round, says so. */
function namesOf({ files }) {
  const lists = files.map(exportsOf);
  const all = new Map(lists.flat().map((one) => [one.name, one]));
  const has = (list, name) => list.some((one) => one.name === name);
  const [node, page] = lists;
  return [...all.values()]
    .map((one) => ({
      ...one,
      only:
        !page || (has(node, one.name) && has(page, one.name))
          ? ''
          : has(node, one.name)
            ? 'Node only'
            : 'pages only',
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

try {
  const entries = await entryPoints();
  if (values.check) {
    const files = positionals.length > 0 ? positionals : entries.flatMap((entry) => entry.files);
    const names = files.flatMap(exportsOf);
    const missing = [...new Set(undocumented(names))];
    if (missing.length > 0) console.error(`without a docstring:\n${missing.join('\n')}`);
    else console.log(`${new Set(names.map(({ at }) => at)).size} public names, all with a docstring`);
    process.exitCode = missing.length > 0 ? 1 : 0;
  } else {
    await rm(out, { recursive: true, force: true });
    await mkdir(out, { recursive: true });
    for (const entry of entries) {
      const names = namesOf(entry);
      await writeFile(path.join(out, fileOf(entry)), page(entry, names, entries));
      console.log(`out/api/${fileOf(entry)}  ${names.length} names`);
    }
  }
} finally {
  api.close();
}
