/**
 * deepen.mjs IN OUT: weights of a network twice as deep that computes what IN's does: after each block of the encoder comes a copy of it that
 * adds nothing yet (its `attn.proj` and `mlp.lin2` are 0), and before each module one whose `project` is 0, after the block that was copied.
 * Training goes on from there.
 */
import { openWeightFile, writeFileAtomic } from '../dist/node.js';
import { load } from './load.mjs';

const [from, to] = process.argv.slice(2);
if (!to) throw new Error('usage: deepen.mjs IN OUT');
const { writeSafetensors } = await load('src/weights/safetensors-write.ts');
const source = await openWeightFile(from);
const tensors = [];
const add = (name, shape, data) => tensors.push({ name, dtype: 'F32', shape, data });
let depth = 0;
for (const [name, { shape }] of source.tensors) {
  const values = await source.readF32(name);
  const [, list, n, rest] = name.match(/^(image_encoder\.blocks|sgpm)\.(\d+)\.(.*)$/) ?? [];
  if (list === undefined) {
    add(name, shape, values);
    continue;
  }
  const module = list === 'sgpm';
  if (!module) depth = Math.max(depth, Number(n) + 1);
  const nothing = /^(attn\.proj|mlp\.lin2|fusion\.project)\./.test(rest)
    ? new Float32Array(values.length)
    : values;
  add(`${list}.${2 * n}.${rest}`, shape, module ? nothing : values);
  add(`${list}.${2 * n + 1}.${rest}`, shape, module ? values : nothing);
}
const metadata = {};
for (const name of ['format', 'sgpm.dilations', 'sgpm.gate', 'preset', 'zoom', 'scope', 'untrained'])
  if (source.metadata[name]) metadata[name] = source.metadata[name];
const sites = source.metadata['sgpm.sites'];
if (sites)
  metadata['sgpm.sites'] = JSON.stringify(JSON.parse(sites).flatMap((site) => [2 * site, 2 * site + 1]));
await source.close();

await writeFileAtomic(to, writeSafetensors(tensors, metadata));
console.log(`${to}: ${2 * depth} blocks for ${depth}`);
