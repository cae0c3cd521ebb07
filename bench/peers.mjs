/**
 * The same operations by this engine and by its peers, on one adapter in one run: a table, a chart, a JSON file.
 *
 *   npm run build && (cd bench/peers && npm install --ignore-scripts)
 *   node bench/peers.mjs [lavapipe|hardware] [seconds per case] [part of a case's name]
 *
 * Each peer runs in a process of its own, one after the other: one that crashes is a row that says so. PyTorch takes part
 * where /usr/bin/python3 (or $PYTHON) has it. Correctness is checked against float64 beside the time: a wrong result is marked.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { Engine, formulaWeights, Model, openDevice } from '../dist/node.js';
import { chart } from './chart.mjs';
import { cases, ENCODER } from './peers/work.mjs';

const [adapter = 'lavapipe', seconds = '3', part = ''] = process.argv.slice(2);
const PEERS = [
  'sgp-sam',
  'onnxruntime-node (CPU)',
  'onnxruntime-node (WebGPU)',
  'onnxruntime-web (WebGPU)',
  'tfjs',
  'jax-js',
];
const LIMIT_MS = 240_000;
/** One encode takes a WebGPU peer on a CPU adapter a minute and a half. */
const ENCODER_LIMIT_MS = 600_000;
/** Of the largest value, in float32. */
const WRONG = 1e-3;
const LAVAPIPE = '/usr/share/vulkan/icd.d/lvp_icd.json';

const env = { ...process.env, PEERS_ADAPTER: adapter };
if (adapter === 'lavapipe') {
  if (!existsSync(LAVAPIPE)) throw new Error(`${LAVAPIPE} is not there: run tools/ci-setup.sh as root`);
  env.VK_DRIVER_FILES = LAVAPIPE;
}
const names = Object.keys(cases).filter((name) => name.includes(part));

/** Lines of JSON that a process prints, until it ends or its time is up. */
function lines(command, args, limit = LIMIT_MS) {
  return new Promise((done) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let complaints = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (complaints = (complaints + chunk).slice(-2000)));
    const timer = setTimeout(() => child.kill('SIGKILL'), limit);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const found = out
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
      done({ found, code, signal, complaints });
    });
  });
}

const results = [];
/** One case by one peer, in a process of its own: one that hangs takes only its own cell. */
async function measure(peer, name, limit = LIMIT_MS) {
  process.stderr.write(`${peer}: ${name}\n`);
  const runner = fileURLToPath(new URL('peers/run.mjs', import.meta.url));
  const { found, signal } = await lines(process.execPath, [runner, peer, seconds, name], limit);
  const failed = signal === 'SIGKILL' ? `not done after ${limit / 1000} s` : 'the process died';
  results.push({ ...(found[0] ?? { peer, failed }), case: name });
}
// One operation after the other, so that a peer's neighbours in time are its rivals.
for (const name of names) for (const peer of PEERS) await measure(peer, name);

const python = process.env.PYTHON ?? '/usr/bin/python3';
let torch = '';
try {
  torch = execFileSync(
    python,
    [
      '-c',
      'import os, torch; torch.set_num_threads(os.cpu_count()); print(torch.__version__, torch.get_num_threads())',
    ],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
    .toString()
    .trim();
} catch {
  process.stderr.write(`${python} has no PyTorch: no column for it\n`);
}
if (torch) {
  process.stderr.write('PyTorch (CPU)\n');
  const { found } = await lines(python, [
    fileURLToPath(new URL('peers/torch_ops.py', import.meta.url)),
    seconds,
  ]);
  results.push(...found.filter((row) => row.case.includes(part)));
  if (ENCODER.includes(part)) {
    // ONNX Runtimes are given PyTorch's own export of the encoder.
    const folder = mkdtempSync(`${os.tmpdir()}/sgp-sam-peers-`);
    env.PEERS_ENCODER = `${folder}/encoder.onnx`;
    try {
      await lines(python, [
        fileURLToPath(new URL('peers/torch_ops.py', import.meta.url)),
        'export',
        env.PEERS_ENCODER,
      ]);
      const exported = existsSync(`${env.PEERS_ENCODER}.json`); // written last
      for (const peer of PEERS.filter((name) => name.startsWith('onnxruntime'))) {
        if (exported) await measure(peer, ENCODER, ENCODER_LIMIT_MS);
        else results.push({ peer, case: ENCODER, failed: 'PyTorch could not export it' });
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

const engine = new Engine(await openDevice({ adapter, announce: () => {} }));
const { description, kind } = engine.gpu.adapter;
if (ENCODER.includes(part)) {
  process.stderr.write(`sgp-sam: ${ENCODER}\n`);
  const { source, config } = formulaWeights('formula:vit_b_ori');
  const model = await Model.load(engine, source, { config });
  const image = Float32Array.from({ length: config.volume ** 3 }, (_, i) => Math.sin(i * 0.37));
  const prompt = { points: [{ at: [64, 64, 64], label: 1 }], mask: model.emptyMask() };
  const [encodes, decodes] = [[], []];
  for (let n = 0; n < 4; n++) {
    let begin = performance.now();
    await model.encode(image);
    if (n > 0) encodes.push(performance.now() - begin);
    begin = performance.now();
    await model.decode(prompt);
    if (n > 0) decodes.push(performance.now() - begin);
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const ms = median(encodes);
  results.push({
    peer: 'sgp-sam',
    case: ENCODER,
    ms,
    runs: encodes.length,
    gflops: model.encoderFlops / 1e6 / ms,
  });
  results.push({
    peer: 'sgp-sam',
    case: 'a click (decode) after it',
    ms: median(decodes),
    runs: decodes.length,
  });
  model.dispose();
}
engine.dispose();

const columns = [...PEERS, ...(torch ? ['PyTorch (CPU)'] : [])];
const rows = [...new Set(results.map((row) => row.case))];
const cell = (row) => {
  if (!row) return '';
  if (row.failed) return `failed: ${row.failed.replaceAll('|', '/').slice(0, 60)}`;
  const wrong = row.error > WRONG ? `, WRONG by ${row.error.toExponential(0)}` : '';
  return `${row.ms < 100 ? row.ms.toFixed(1) : row.ms.toFixed(0)}${wrong}`;
};
const of = (peer, name) => results.find((row) => row.peer === peer && row.case === name);
const right = (row) => row && !row.failed && !(row.error > WRONG);
console.log(
  `${description} (${kind}), ${os.cpus()[0].model}, ${os.cpus().length} cores, ${new Date().toISOString().slice(0, 10)}; medians in ms`,
);
if (torch) console.log(`PyTorch ${torch.split(' ')[0]} with ${torch.split(' ')[1]} threads`);
console.log(
  `\n| operation | ${columns.join(' | ')} | against the fastest WebGPU peer that is right |\n|---|${columns.map(() => '---|').join('')}---|`,
);
for (const name of rows) {
  const own = of('sgp-sam', name);
  const others = PEERS.filter((peer) => peer !== 'sgp-sam' && !peer.includes('CPU'))
    .map((peer) => of(peer, name))
    .filter(right);
  const best = others.length > 0 ? Math.min(...others.map(({ ms }) => ms)) : undefined;
  console.log(
    `| ${name} | ${columns.map((peer) => cell(of(peer, name))).join(' | ')} | ${best && right(own) ? `${(best / own.ms).toFixed(1)}×` : ''} |`,
  );
}
const folder = fileURLToPath(new URL('results', import.meta.url));
mkdirSync(folder, { recursive: true });
const stem = `${folder}/peers-${adapter}`;
const about = {
  device: description,
  kind,
  cpu: os.cpus()[0].model,
  cores: os.cpus().length,
  torch,
  date: new Date().toISOString(),
};
if (part === '') {
  writeFileSync(`${stem}.json`, `${JSON.stringify({ ...about, results }, null, 1)}\n`);
  writeFileSync(
    `${stem}.svg`,
    chart(`${description}, ${about.date.slice(0, 10)}`, names, columns, (peer, name) =>
      right(of(peer, name)) ? of(peer, name).ms : undefined,
    ),
  );
  console.log(`\nwrote ${stem}.json and .svg`);
}
