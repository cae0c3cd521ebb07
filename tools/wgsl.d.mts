export function wgslModule(path: string, text: string): string;
export function wgslPlugin(strip?: (text: string) => string): import('esbuild').Plugin;
