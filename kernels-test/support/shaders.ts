/// <reference types="vite/types/importMeta.d.ts" />
/** The files of shaders/. */
import type { ShaderSource } from '../../src/engine/kernels/wgsl.js';

const files = import.meta.glob<ShaderSource>('../../shaders/*.wgsl', { eager: true, import: 'default' });
const included = new Set(Object.values(files).flatMap((source) => Object.keys(source.includes)));

export const everyShader: readonly ShaderSource[] = Object.values(files);

/** Those that are compiled: that no other includes. */
export const shaderSources: readonly ShaderSource[] = everyShader.filter(
  ({ name }) => !included.has(`${name}.wgsl`),
);
