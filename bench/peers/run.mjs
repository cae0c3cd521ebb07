/**
 * Runs the cases with one peer in this process and prints a line of JSON for each. Started by bench/peers.mjs, which sets
 * the environment that leads Dawn to the wanted adapter.
 *
 *   node run.mjs PEER SECONDS [case …]
 *
 * $PEERS_ENCODER is the encoder as ONNX, for the case of that name.
 */
import os from 'node:os';
import { Bench } from 'tinybench';
import { create, globals } from 'webgpu';
import { onnxModel } from './onnx.mjs';
import { cases, ENCODER, encoderWork, errorOf, turn } from './work.mjs';

const [peer, seconds, ...names] = process.argv.slice(2);

function webgpuInPlace() {
  Object.assign(globalThis, globals);
  const gpu = create([]);
  // Dawn for Node refuses data in a SharedArrayBuffer, which is what threads' WebAssembly has: copied.
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, ...rest) {
    const shared = data.buffer instanceof SharedArrayBuffer;
    return writeBuffer.call(this, buffer, offset, shared ? data.slice() : data, ...rest);
  };
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu, userAgent: 'Node', hardwareConcurrency: os.cpus().length, languages: ['en'] },
    configurable: true,
  });
}

/** Each: (work) → { run, read }, where `run` resolves when the device is done, and `read` gives values channels-last. */
const peers = {
  async 'sgp-sam'() {
    const {
      capabilitiesOf,
      Engine,
      Graph,
      openDevice,
      ops,
      ParameterStore,
      Program,
      usualWeights,
      windowAttention,
    } = await import('../../dist/node.js');
    const engine = new Engine(
      await openDevice({ adapter: process.env.PEERS_ADAPTER ?? 'auto', announce: () => {} }),
    );
    return async (work) => {
      const graph = new Graph();
      const specs = [];
      const values = new Map();
      const param = (name, shape, layout, value) => {
        specs.push({ name, shape, layout });
        values.set(name, value);
        return graph.param({ name, shape, layout });
      };
      let input;
      let y;
      if (work.kind === 'matmul') {
        const { rows, k, n, x, w, bias } = work;
        input = x;
        // (N, K), as PyTorch has it.
        const turned = turn(w, k, n);
        y = ops.gelu(
          ops.linear(
            graph.input('x', [rows, k]),
            param('w', [n, k], 'linear', turned),
            param('bias', [n], 'plain', bias),
          ),
        );
      } else if (work.kind === 'attention') {
        // More than the peers do: relative position in all three directions, with tables of zeros.
        const { heads, tokens, dim, width, qkv } = work;
        const edge = Math.round(Math.cbrt(tokens));
        input = qkv;
        const table = (name) =>
          param(name, [2 * edge - 1, dim], 'plain', new Float32Array((2 * edge - 1) * dim));
        const bias = param('bias', [3 * width], 'plain', new Float32Array(3 * width));
        y = windowAttention(
          graph.input('x', [1, edge, edge, edge, 3 * width]),
          bias,
          [table('d'), table('h'), table('w')],
          heads,
          0,
        );
      } else {
        const { size, channels, out, x, w, bias } = work;
        input = x;
        const volume = graph.input('x', [1, size, size, size, channels]);
        if (work.kind === 'conv3d') {
          const { kernel, stride, padding, dilation } = work;
          const shape = [out, channels, kernel, kernel, kernel];
          y = ops.conv3d(volume, param('w', shape, 'conv', w), param('bias', [out], 'plain', bias), {
            kernel,
            stride,
            padding,
            dilation,
          });
        } else {
          y = ops.convTranspose(
            volume,
            param('w', [channels, out, 2, 2, 2], 'conv_transpose', w),
            param('bias', [out], 'plain', bias),
          );
        }
      }
      graph.output('y', y);
      const weights = usualWeights(capabilitiesOf(engine));
      const read = async (name) => values.get(name);
      const parameters = await ParameterStore.load(engine, specs, read, { storage: weights });
      const program = await Program.compile(engine, graph, { parameters });
      program.write('x', input);
      return {
        async run() {
          await program.run();
          await engine.idle();
        },
        async read() {
          await program.run();
          return program.read('y');
        },
      };
    };
  },

  async 'onnxruntime-node (CPU)'() {
    const ort = (await import('onnxruntime-node')).default;
    return onnx(ort, { executionProviders: ['cpu'] });
  },

  async 'onnxruntime-node (WebGPU)'() {
    const ort = (await import('onnxruntime-node')).default;
    return onnx(ort, { executionProviders: ['webgpu'] });
  },

  async 'onnxruntime-web (WebGPU)'() {
    webgpuInPlace();
    const ort = await import('./node_modules/onnxruntime-web/dist/ort.webgpu.min.mjs');
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
    return onnx(ort, { executionProviders: ['webgpu'] });
  },

  async tfjs() {
    webgpuInPlace();
    const tf = await import('@tensorflow/tfjs-core');
    await import('@tensorflow/tfjs-backend-webgpu');
    await tf.setBackend('webgpu');
    await tf.ready();
    return async (work) => {
      let compute;
      if (work.kind === 'matmul') {
        const { rows, k, n } = work;
        const [x, w, bias] = [
          tf.tensor2d(work.x, [rows, k]),
          tf.tensor2d(work.w, [k, n]),
          tf.tensor1d(work.bias),
        ];
        compute = () => {
          const a = tf.add(tf.matMul(x, w), bias);
          return tf.mul(tf.mul(a, 0.5), tf.add(tf.erf(tf.div(a, Math.SQRT2)), 1));
        };
      } else if (work.kind === 'attention') {
        const { heads, tokens, dim, width, qkv } = work;
        const x = tf.tensor4d(qkv, [tokens, 3, heads, dim]);
        compute = () => {
          const [q, k, v] = tf.unstack(tf.transpose(x, [1, 2, 0, 3]));
          const p = tf.softmax(tf.mul(tf.matMul(q, k, false, true), dim ** -0.5));
          return tf.reshape(tf.transpose(tf.matMul(p, v), [1, 0, 2]), [tokens, width]);
        };
      } else {
        const { size, channels, out, bias } = work;
        const x = tf.tensor5d(work.x, [1, size, size, size, channels]);
        const b = tf.tensor1d(bias);
        if (work.kind === 'conv3d') {
          const { kernel, stride, padding, dilation } = work;
          const taps = kernel ** 3;
          const turned = tf.transpose(tf.tensor3d(work.w, [out, channels, taps]), [2, 1, 0]);
          const w = tf.reshape(turned, [kernel, kernel, kernel, channels, out]);
          // Its 5-D addition does not compile: as rows.
          compute = () => {
            const y = tf.conv3d(x, w, stride, padding ? 'same' : 'valid', 'NDHWC', [
              dilation,
              dilation,
              dilation,
            ]);
            return tf.add(tf.reshape(y, [-1, out]), b);
          };
        } else {
          const w = tf.transpose(tf.tensor5d(work.w, [channels, out, 2, 2, 2]), [2, 3, 4, 1, 0]);
          compute = () => {
            const y = tf.conv3dTranspose(x, w, [1, 2 * size, 2 * size, 2 * size, out], 2, 'valid');
            return tf.add(tf.reshape(y, [-1, out]), b);
          };
        }
      }
      return {
        // One element comes back: the library's own way of waiting.
        async run() {
          const one = tf.tidy(() => tf.slice(tf.reshape(compute(), [-1]), [0], [1]));
          await one.data();
          one.dispose();
        },
        read: async () => await tf.tidy(compute).data(),
      };
    };
  },

  async 'jax-js'() {
    webgpuInPlace();
    const { defaultDevice, init, jit, lax, nn, numpy: np } = await import('@jax-js/jax');
    const devices = await init('webgpu');
    if (!devices.includes('webgpu')) throw new Error('no WebGPU');
    defaultDevice('webgpu');
    return async (work) => {
      let f;
      let inputs;
      if (work.kind === 'matmul') {
        const { rows, k, n } = work;
        inputs = [np.array(work.x).reshape([rows, k]), np.array(work.w).reshape([k, n]), np.array(work.bias)];
        f = jit((x, w, bias) => nn.gelu(np.matmul(x, w).add(bias), { approximate: false }));
      } else if (work.kind === 'attention') {
        const { heads, tokens, dim, width, qkv } = work;
        const part = (p) => {
          const out = new Float32Array(tokens * width);
          for (let t = 0; t < tokens; t++)
            out.set(qkv.subarray(t * 3 * width + p * width, t * 3 * width + (p + 1) * width), t * width);
          return np.array(out).reshape([1, tokens, heads, dim]);
        };
        inputs = [part(0), part(1), part(2)];
        f = jit((q, k, v) => nn.dotProductAttention(q, k, v));
      } else {
        const { size, channels, out, bias } = work;
        const x = np.array(turn(work.x, size ** 3, channels)).reshape([1, channels, size, size, size]);
        const b = np.array(bias).reshape([1, out, 1, 1, 1]);
        if (work.kind === 'conv3d') {
          const { kernel, stride, padding, dilation } = work;
          const w = np.array(work.w).reshape([out, channels, kernel, kernel, kernel]);
          const pad = [padding, padding];
          inputs = [x, w, b];
          f = jit((x, w, b) =>
            lax
              .convGeneralDilated(x, w, [stride, stride, stride], [pad, pad, pad], {
                rhsDilation: [dilation, dilation, dilation],
              })
              .add(b),
          );
        } else {
          const w = np.array(work.w).reshape([channels, out, 2, 2, 2]);
          inputs = [x, w, b];
          f = jit((x, w, b) => lax.convTranspose(x, w, [2, 2, 2], 'VALID', { transposeKernel: true }).add(b));
        }
      }
      const once = () => f(...inputs.map((input) => input.ref));
      const volume = work.kind === 'conv3d' || work.kind === 'conv_transpose';
      return {
        async run() {
          const y = once();
          await y.blockUntilReady();
          y.dispose();
        },
        async read() {
          const values = await once().data();
          return volume ? turn(values, work.edge ** 3, work.out, true) : values;
        },
      };
    };
  },
};

/** ONNX Runtime on the model of a case. Results come back to the host: its API waits for them so. */
function onnx(ort, options) {
  return async (work) => {
    const { model, dims, x, out } = onnxModel(work, turn);
    const session = await ort.InferenceSession.create(new Uint8Array(model), {
      ...options,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    });
    const feeds = { x: new ort.Tensor('float32', x, dims) };
    const once = async () => (await session.run(feeds)).y;
    return {
      async run() {
        (await once()).dispose?.();
      },
      async read() {
        const y = await once();
        const values = y.data ?? (await y.getData());
        return out.length === 5 ? turn(values, work.edge ** 3, work.out, true) : values;
      },
    };
  };
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let prepare;
try {
  prepare = await peers[peer]();
} catch (error) {
  say({ peer, failed: `does not start: ${String(error.message ?? error).split('\n')[0]}` });
  process.exit(0);
}
for (const name of names.length > 0 ? names : Object.keys(cases)) {
  const work = name === ENCODER ? encoderWork(process.env.PEERS_ENCODER) : cases[name]();
  try {
    const { run, read } = await prepare(work);
    const error = errorOf(work, await read());
    // Dawn polls on this thread while a promise is pending, which on a CPU adapter takes a core from the kernels.
    if (process.platform === 'linux' && peer !== 'onnxruntime-node (CPU)') os.setPriority(0, 15);
    const whole = work.kind === 'model'; // it can take minutes: the run that was checked has warmed it up
    const bench = new Bench({
      time: 1000 * Number(seconds),
      iterations: whole ? 1 : 3,
      warmup: !whole,
      warmupIterations: 1,
      warmupTime: 0,
    });
    bench.add(name, run);
    await bench.run();
    const { result } = bench.tasks[0];
    if (result.error) throw result.error;
    say({
      peer,
      case: name,
      ms: result.latency.p50,
      runs: result.latency.samplesCount,
      ...(work.flops ? { gflops: work.flops / 1e6 / result.latency.p50 } : {}),
      error,
    });
  } catch (error) {
    say({
      peer,
      case: name,
      failed: String(error.message ?? error)
        .split('\n')[0]
        .slice(0, 200),
    });
  }
}
process.exit(0);
