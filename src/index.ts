/** `sgp-sam` in a browser. */
export { openDevice } from './gpu/open.js';
export * from './session/index.js';
