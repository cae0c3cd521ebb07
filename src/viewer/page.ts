/** The page's elements, and files in and out of it. */

/** The element of this id; its absence is a fault of the page. */
export function element<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as E;
}

export const button = (id: string): HTMLButtonElement => element<HTMLButtonElement>(id);

/** A new element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Asks for files through one of the page's file inputs. */
export function onFiles(input: string, opener: string, take: (files: File[]) => void): void {
  const field = element<HTMLInputElement>(input);
  button(opener).addEventListener('click', () => field.click());
  field.addEventListener('change', () => {
    const files = [...(field.files ?? [])];
    field.value = ''; // so that the same file can be chosen again
    if (files.length > 0) take(files);
  });
}

/** Asks for a file. */
export const onFile = (input: string, opener: string, take: (file: File) => void): void =>
  onFiles(input, opener, ([file]) => take(file as File));

/** Hands bytes to the browser's downloads. */
export function download(bytes: BlobPart, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  make('a', { href: url, download: name }).click();
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
