/// <reference types="vite/types/importMeta.d.ts" />
/** Every file of shaders/ that is compiled: those that no other includes. */
import type { ShaderSource } from '../../src/engine/kernels/wgsl.js';

const files = import.meta.glob<ShaderSource>('../../shaders/*.wgsl', { eager: true, import: 'default' });
const included = new Set(Object.values(files).flatMap((source) => Object.keys(source.includes)));

export const shaderSources: readonly ShaderSource[] = Object.values(files).filter(
  ({ name }) => !included.has(`${name}.wgsl`),
);
