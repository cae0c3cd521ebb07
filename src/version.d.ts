/** The package's version; the build puts it in place. */
declare const __VERSION__: string;
/** SHA-256 of the weights that the viewer is built with. */
declare const __WEIGHTS_SHA256__: string;

/** Replaced in the viewer's service worker alone: a digest of the page's files, and their names. */
declare const __BUILD__: string;
declare const __FILES__: readonly string[];
