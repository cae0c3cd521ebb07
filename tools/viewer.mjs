/**
 * Serves the built viewer on this machine (http://localhost is a secure context, which WebGPU asks for), or with `--dist FOLDER`
 * writes it for any web server.
 */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { cp, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { viewerHeaders } from './viewer-headers.mjs';

const built = fileURLToPath(new URL('../dist/viewer', import.meta.url));
const USAGE = 'npm run viewer [-- PORT]   or   npm run viewer -- --dist FOLDER';

function fail(text, code = 1) {
  console.error(text);
  process.exit(code);
}

let given;
try {
  given = parseArgs({ options: { dist: { type: 'string' } }, allowPositionals: true });
} catch (error) {
  fail(`${error.message}\n  ${USAGE}`, 2);
}
const { values, positionals } = given;
if (!existsSync(built)) fail('There is no dist/viewer; npm run viewer builds it first.');
if (values.dist !== undefined) await write(values.dist);
else serve(Number(positionals[0] ?? 8000));

async function write(folder) {
  if (positionals.length > 0) fail(`--dist writes a folder and serves nothing: ${USAGE}`, 2);
  if (folder === '') fail(`--dist '': name a folder. ${USAGE}`, 2);
  if (existsSync(folder) && !statSync(folder).isDirectory()) fail(`'${folder}' is a file: name a folder.`, 2);
  const there = existsSync(folder) ? await readdir(folder) : [];
  // An earlier viewer is replaced, nothing else.
  if (there.length > 0 && !there.includes('viewer.js'))
    fail(`'${folder}' holds other files: name an empty or a new folder.`, 2);
  await cp(built, folder, { recursive: true });
  console.log(`The viewer is in ${resolve(folder)}.`);
  console.log('Any web server can serve it, through https. Best with these headers (also in its _headers):');
  for (const [name, value] of Object.entries(viewerHeaders)) console.log(`  ${name}: ${value}`);
}

function serve(port) {
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    fail(`'${positionals[0]}' is no port: a whole number up to 65535, 0 for any that is free.`, 2);
  const types = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.webmanifest': 'application/manifest+json',
    '.txt': 'text/plain; charset=utf-8',
  };
  const server = createServer((request, response) => {
    const file = fileOf(request.url ?? '/');
    const type = file && (types[extname(file)] ?? 'application/octet-stream');
    response.writeHead(file ? 200 : 404, {
      ...viewerHeaders,
      'Cache-Control': 'no-cache',
      ...(file && { 'Content-Type': type, 'Content-Length': statSync(file).size }),
    });
    if (file) createReadStream(file).pipe(response);
    else response.end();
  });
  server.on('error', (error) =>
    fail(`Port ${port} cannot be served: ${error.message}. Another one: npm run viewer -- 8001`),
  );
  server.listen(port, '127.0.0.1', () =>
    console.log(`The viewer is at http://localhost:${server.address().port}/ (Ctrl-C ends it).`),
  );
}

/** The built file that an address means; undefined where there is none. */
function fileOf(url) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return undefined; // a % that encodes nothing
  }
  const file = join(built, path.endsWith('/') ? `${path}index.html` : path);
  return file.startsWith(built + sep) && statSync(file, { throwIfNoEntry: false })?.isFile()
    ? file
    : undefined;
}
