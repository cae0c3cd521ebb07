/**
 * deepen.mjs IN OUT: weights of a network twice as deep that computes what IN's does: after each block of the encoder comes a copy of it that
 * adds nothing yet (its `attn.proj` and `mlp.lin2` are 0), and before each module one whose `project` is 0, after the block that was copied.
 * Training goes on from there.
 */
import { openWeightFile, writeFileAtomic } from '../dist/node.js';

const [from, to] = process.argv.slice(2);
if (!to) throw new Error('usage: deepen.mjs IN OUT');
const source = await openWeightFile(from);
const tensors = new Map();
let depth = 0;
for (const [name, { shape }] of source.tensors) {
  const values = await source.readF32(name);
  const [, list, n, rest] = name.match(/^(image_encoder\.blocks|sgpm)\.(\d+)\.(.*)$/) ?? [];
  if (list === undefined) {
    tensors.set(name, { shape, values });
    continue;
  }
  const module = list === 'sgpm';
  if (!module) depth = Math.max(depth, Number(n) + 1);
  const nothing = /^(attn\.proj|mlp\.lin2|fusion\.project)\./.test(rest)
    ? new Float32Array(values.length)
    : values;
  tensors.set(`${list}.${2 * n}.${rest}`, { shape, values: module ? nothing : values });
  tensors.set(`${list}.${2 * n + 1}.${rest}`, { shape, values: module ? values : nothing });
}
const metadata = {};
for (const name of ['sgpm.dilations', 'sgpm.gate', 'preset', 'zoom', 'scope', 'untrained'])
  if (source.metadata[name]) metadata[name] = source.metadata[name];
const sites = source.metadata['sgpm.sites'];
if (sites)
  metadata['sgpm.sites'] = JSON.stringify(JSON.parse(sites).flatMap((site) => [2 * site, 2 * site + 1]));
metadata.format = source.metadata.format;
await source.close();

let at = 0;
const header = { __metadata__: metadata };
for (const [name, { shape, values }] of tensors) {
  header[name] = { dtype: 'F32', shape, data_offsets: [at, at + values.byteLength] };
  at += values.byteLength;
}
const json = Buffer.from(JSON.stringify(header));
const text = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, 0x20)]);
const length = Buffer.alloc(8);
length.writeBigUInt64LE(BigInt(text.length));
const data = [...tensors.values()].map(({ values }) =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength),
);
await writeFileAtomic(to, Buffer.concat([length, text, ...data]));
console.log(`${to}: ${2 * depth} blocks for ${depth}`);
