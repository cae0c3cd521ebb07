/** The package's version; the build puts it in place. */
declare const __VERSION__: string;
