/** A file of shaders/ as tools/wgsl.mjs makes a module of it: `ShaderSource`. */
declare module '*.wgsl' {
  interface Source {
    readonly name: string;
    readonly text: string;
    readonly includes: Readonly<Record<string, Source>>;
  }
  const source: Source;
  export default source;
}
