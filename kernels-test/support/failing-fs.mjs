/**
 * Makes one call fail that writes below a folder, in a process of its own: `node --import failing-fs.mjs`. Counted are opening for
 * writing, writing, syncing, closing, renaming, linking and making folders, with Node's own functions for all of them.
 *
 * SGP_SAM_FAIL = JSON { folder, at, code }: `at` is the number of the call, from 1, or "call:part of the file's name". What was
 * made to fail is said on stderr: `injected: EIO rename /path`.
 */
import fs from 'node:fs';
import fsp from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { resolve } from 'node:path';

const { folder, at, code } = JSON.parse(process.env.SGP_SAM_FAIL);
const { O_WRONLY, O_RDWR } = fs.constants;
let calls = 0;
let fired = false;

function step(call, path) {
  const full = resolve(String(path));
  if (fired || !(full === folder || full.startsWith(`${folder}/`))) return;
  calls++;
  const [wanted, part] = typeof at === 'string' ? at.split(':') : [];
  const due = wanted === undefined ? calls === at : call === wanted && full.includes(part);
  if (!due) return;
  fired = true;
  fs.writeSync = own.writeSync;
  own.writeSync(2, `injected: ${code} ${call} ${full}\n`);
  throw Object.assign(new Error(`${code}: injected, ${call} '${full}'`), { code, syscall: call, path: full });
}

const writes = (flags = 'r') =>
  typeof flags === 'number' ? (flags & (O_WRONLY | O_RDWR)) !== 0 : /[wa+]/.test(flags);

const own = { ...fs };
const ownPromises = { ...fsp };
/** File descriptors and handles that are open for writing, and their paths. */
const paths = new Map();

fs.openSync = (path, flags, mode) => {
  if (writes(flags)) step('open', path);
  const fd = own.openSync(path, flags, mode);
  if (writes(flags)) paths.set(fd, path);
  return fd;
};
for (const [name, call] of Object.entries({ writeSync: 'write', fsyncSync: 'sync' })) {
  fs[name] = (fd, ...rest) => {
    if (paths.has(fd)) step(call, paths.get(fd));
    return own[name](fd, ...rest);
  };
}
fs.closeSync = (fd) => {
  paths.delete(fd);
  return own.closeSync(fd);
};
for (const [name, call, argument] of [
  ['renameSync', 'rename', 1],
  ['linkSync', 'link', 1],
  ['mkdirSync', 'mkdir', 0],
  ['writeFileSync', 'write', 0],
  ['appendFileSync', 'write', 0],
]) {
  fs[name] = (...args) => {
    // Descriptors are counted above.
    if (typeof args[argument] === 'string') step(call, args[argument]);
    return own[name](...args);
  };
}

fsp.open = async (path, flags, mode) => {
  if (writes(flags)) step('open', path);
  const handle = await ownPromises.open(path, flags, mode);
  if (!writes(flags)) return handle;
  paths.set(handle, path);
  // The only method that is each handle's own.
  const close = handle.close;
  handle.close = async () => {
    // A close that fails has closed all the same.
    await close();
    step('close', path);
  };
  return handle;
};
for (const [name, call, argument] of [
  ['rename', 'rename', 1],
  ['link', 'link', 1],
  ['mkdir', 'mkdir', 0],
  ['writeFile', 'write', 0],
  ['appendFile', 'write', 0],
]) {
  fsp[name] = async (...args) => {
    step(call, args[argument]);
    return ownPromises[name](...args);
  };
}

const probe = await ownPromises.open(process.execPath, 'r');
const handles = Object.getPrototypeOf(probe);
await probe.close();
for (const [name, call] of Object.entries({
  write: 'write',
  writeFile: 'write',
  sync: 'sync',
  datasync: 'sync',
  truncate: 'write',
})) {
  const method = handles[name];
  handles[name] = async function (...args) {
    const path = paths.get(this);
    if (path !== undefined) step(call, path);
    return method.apply(this, args);
  };
}
syncBuiltinESMExports();
