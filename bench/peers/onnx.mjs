/** ONNX models of one operation, written as protobuf by hand: field number << 3 | wire type, then the value. */
const bytes = (...parts) =>
  Buffer.concat(parts.map((part) => (Buffer.isBuffer(part) ? part : Buffer.from(part))));
function varint(value) {
  const out = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    out.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(out);
}
const number = (field, value) => bytes(varint(field << 3), varint(value));
const block = (field, content) => bytes(varint((field << 3) | 2), varint(content.length), content);
const text = (field, value) => block(field, Buffer.from(value));

const FLOAT = 1;
function tensor(name, dims, values) {
  const raw = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return bytes(...dims.map((d) => number(1, d)), number(2, FLOAT), text(8, name), block(9, raw));
}
const valueInfo = (name, dims) =>
  bytes(
    text(1, name),
    block(2, block(1, bytes(number(1, FLOAT), block(2, bytes(...dims.map((d) => block(1, number(1, d)))))))),
  );
const ints = (name, values) => bytes(text(1, name), ...values.map((v) => number(8, v)), number(20, 7));
const node = (op, inputs, output, attributes = []) =>
  bytes(
    ...inputs.map((i) => text(1, i)),
    text(2, output),
    text(4, op),
    ...attributes.map((a) => block(5, a)),
  );

function model(nodes, inputs, outputs, constants) {
  const graph = bytes(
    ...nodes.map((n) => block(1, n)),
    text(2, 'one operation'),
    ...constants.map((c) => block(5, c)),
    ...inputs.map(([name, dims]) => block(11, valueInfo(name, dims))),
    ...outputs.map(([name, dims]) => block(12, valueInfo(name, dims))),
  );
  return bytes(number(1, 9), text(2, 'sgp-sam bench'), block(7, graph), block(8, number(2, 20)));
}

/** The model of a case, with its input's name, shape and values as ONNX wants them (channels first), and the output's shape. */
export function onnxModel(work, turn) {
  if (work.kind === 'model') return { ...work, out: [work.outputs] };
  if (work.kind === 'matmul') {
    const { rows, k, n, x, w, bias } = work;
    const nodes = [
      node('MatMul', ['x', 'w'], 'a'),
      node('Add', ['a', 'bias'], 'b'),
      node('Gelu', ['b'], 'y'),
    ];
    const constants = [tensor('w', [k, n], w), tensor('bias', [n], bias)];
    return {
      model: model(nodes, [['x', [rows, k]]], [['y', [rows, n]]], constants),
      dims: [rows, k],
      x,
      out: [rows, n],
    };
  }
  if (work.kind === 'attention') {
    const { heads, tokens, dim, width, qkv } = work;
    // (1, heads, tokens, d) for q and v, (1, heads, d, tokens) for k, from qkv (tokens, 3, heads, d).
    const nodes = [
      node('Transpose', ['x'], 't', [ints('perm', [1, 2, 0, 3])]), // (3, heads, tokens, d)
      node('Gather', ['t', 'i0'], 'q'),
      node('Gather', ['t', 'i1'], 'k'),
      node('Gather', ['t', 'i2'], 'v'),
      node('Transpose', ['k'], 'kt', [ints('perm', [0, 2, 1])]),
      node('MatMul', ['q', 'kt'], 's'),
      node('Mul', ['s', 'scale'], 'ss'),
      node('Softmax', ['ss'], 'p'),
      node('MatMul', ['p', 'v'], 'o'), // (heads, tokens, d)
      node('Transpose', ['o'], 'ot', [ints('perm', [1, 0, 2])]),
      node('Reshape', ['ot', 'shape'], 'y'),
    ];
    const integers = (name, dims, values) => {
      const raw = Buffer.from(BigInt64Array.from(values.map(BigInt)).buffer);
      return bytes(...dims.map((d) => number(1, d)), number(2, 7), text(8, name), block(9, raw));
    };
    const constants = [
      integers('i0', [], [0]),
      integers('i1', [], [1]),
      integers('i2', [], [2]),
      integers('shape', [2], [tokens, width]),
      tensor('scale', [], Float32Array.of(dim ** -0.5)),
    ];
    const dims = [tokens, 3, heads, dim];
    return {
      model: model(nodes, [['x', dims]], [['y', [tokens, width]]], constants),
      dims,
      x: qkv,
      out: [tokens, width],
    };
  }
  const { size, channels, out, edge, x, w, bias } = work;
  const dims = [1, channels, size, size, size];
  const transposed = work.kind === 'conv_transpose';
  const kernel = transposed ? 2 : work.kernel;
  const three = (v) => [v, v, v];
  const attributes = [
    ints('kernel_shape', three(kernel)),
    ints('strides', three(transposed ? 2 : work.stride)),
    ints('pads', [...three(transposed ? 0 : work.padding), ...three(transposed ? 0 : work.padding)]),
    ints('dilations', three(transposed ? 1 : work.dilation)),
  ];
  const nodes = [node(transposed ? 'ConvTranspose' : 'Conv', ['x', 'w', 'bias'], 'y', attributes)];
  const shape = transposed ? [channels, out, ...three(2)] : [out, channels, ...three(kernel)];
  const constants = [tensor('w', shape, w), tensor('bias', [out], bias)];
  const output = [1, out, edge, edge, edge];
  return {
    model: model(nodes, [['x', dims]], [['y', output]], constants),
    dims,
    x: turn(x, size ** 3, channels),
    out: output,
  };
}
