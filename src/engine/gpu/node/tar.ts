/** Just enough of tar to read an archive of plain files held in memory. */

const BLOCK = 512;

/** The regular files of a (POSIX or GNU) tar archive, by their path without a leading `./`. */
export function readTar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (at: number, length: number) => {
    const field = archive.subarray(at, at + length);
    const end = field.indexOf(0);
    return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
  };
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const name = text(at, 100);
    if (name === '') break;
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8);
    if (!Number.isInteger(size) || at + BLOCK + size > archive.length)
      throw new Error(`broken tar entry "${name}"`);
    const type = text(at + 156, 1);
    const prefix = text(at + 257, 5) === 'ustar' ? text(at + 345, 155) : '';
    const path = (prefix && type !== 'L' ? `${prefix}/${name}` : name).replace(/^\.\//, '');
    if (type === '' || type === '0') files.set(path, archive.subarray(at + BLOCK, at + BLOCK + size));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}
