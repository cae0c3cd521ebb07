/**
 * The HTTP headers that the viewer is served with, and written for other servers (`_headers`, as Netlify and Cloudflare Pages read
 * it). The page needs nothing from elsewhere: even a script that came in with a file could send nothing away.
 *
 * Decoders of compressed DICOM files are WebAssembly. NiiVue's font and textures are data: addresses, and it and the engine make blob: ones; styles are set on elements.
 */
const csp = {
  'default-src': "'none'",
  'script-src': "'self' 'wasm-unsafe-eval'",
  'worker-src': "'self'",
  'connect-src': "'self' blob: data:",
  'img-src': "'self' blob: data:",
  'style-src': "'self' 'unsafe-inline'",
  'font-src': "'self' data:",
  'manifest-src': "'self'",
  'frame-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

export const viewerHeaders = {
  'Content-Security-Policy': Object.entries(csp)
    .map(([name, value]) => `${name} ${value}`)
    .join('; '),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
};
