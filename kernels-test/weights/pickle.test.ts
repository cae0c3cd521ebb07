import { expect, test } from 'vitest';
import { unpickle } from '../../src/weights/pickle.js';
import { Placeholder, PyDict, PyGlobal, PyTuple, type PyValue } from '../../src/weights/pickle-values.js';
import { expectError } from './support/errors.js';
import { type Py, pickle } from './support/pickler.js';
import { Bytes } from './support/zip-writer.js';

const known = new Map([
  ['my.add', (args: readonly PyValue[]) => (args[0] as number) + (args[1] as number)],
  ['my.Name', null],
]);
const load = (data: Uint8Array) =>
  unpickle(data, { place: 'test.pkl', known, persistent: (id) => new PyTuple(['persistent', id]) });
const code = (build: (bytes: Bytes) => Bytes) => load(build(new Bytes()).bytes()).value;

/** Values in plain JavaScript, for comparison. */
function plain(value: PyValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof PyTuple) return { tuple: value.items.map(plain) };
  if (value instanceof PyDict) return new Map([...value.entries].map(([k, v]) => [plain(k), plain(v)]));
  return value;
}

const sample: Py = new Map<string, Py>([
  ['none', null],
  ['yes', true],
  ['no', false],
  ['ints', [0, 255, 256, 65535, 65536, -1, -70000, 2 ** 40]],
  ['float', 0.1],
  ['text', 'naïve 漢字'],
  ['long text', 'x'.repeat(300)],
  [
    'tuples',
    {
      tuple: [
        { tuple: [] },
        { tuple: [1] },
        { tuple: [1, 2] },
        { tuple: [1, 2, 3] },
        { tuple: [1, 2, 3, 4] },
      ],
    },
  ],
  ['repeated', ['text', 'text', 'naïve 漢字']],
  ['empty', new Map()],
]);

test.each([2, 3, 4, 5] as const)('protocol %i: plain values, containers and the memo', (protocol) => {
  const value = plain(load(pickle(sample, protocol)).value);
  expect(value).toEqual(sample);
});

test('protocol 0, as written by hand', () => {
  expect(plain(load(pickle(['a', 1.5, 7, ['a'], new Map([['k', 2]]), { tuple: [1, 2] }], 0)).value)).toEqual([
    'a',
    1.5,
    7,
    ['a'],
    new Map([['k', 2]]),
    { tuple: [1, 2] },
  ]);
  expect(code((b) => b.text("S'it'\n."))).toBe('it');
  expect(code((b) => b.text('L12345678901234567890L\n.'))).toBe(12345678901234567890n);
});

test('more than 256 memo entries', () => {
  const texts = Array.from({ length: 400 }, (_, i) => `text ${i}`);
  for (const protocol of [2, 4] as const) {
    expect(load(pickle([...texts, ...texts], protocol)).value).toEqual([...texts, ...texts]);
  }
});

test('integers of any length', () => {
  expect(code((b) => b.u8(0x8a).u8(0).text('.'))).toBe(0);
  expect(code((b) => b.u8(0x8a).u8(1).u8(255).text('.'))).toBe(-1);
  expect(code((b) => b.u8(0x8b).u32(9).raw([0, 0, 0, 0, 0, 0, 0, 0, 1]).text('.'))).toBe(1n << 64n);
});

test('bytes, sets, duplicates and pops', () => {
  expect(load(pickle({ bytes: Uint8Array.of(1, 2) }, 3)).value).toEqual(Uint8Array.of(1, 2));
  expect(load(pickle({ bytes: new Uint8Array(300) }, 3)).value).toEqual(new Uint8Array(300));
  expect(code((b) => b.u8(0x8f).text('(K').u8(1).text('K').u8(2).u8(0x90).text('.'))).toEqual([1, 2]);
  expect(code((b) => b.text('(K').u8(1).u8(0x91).text('.'))).toEqual([1]);
  expect(plain(code((b) => b.text('K').u8(1).text('2').u8(0x86).text('.')))).toEqual({ tuple: [1, 1] });
  expect(code((b) => b.text('NK').u8(1).text('0.'))).toBe(null);
  expect(code((b) => b.text('N(NNN1.'))).toBe(null);
  expect(code((b) => b.text('N(0.'))).toBe(null);
});

test('a list that contains itself is just that', () => {
  const value = code((b) => b.text(']q').u8(0).text('h').u8(0).text('a.')) as PyValue[];
  expect(value[0]).toBe(value);
});

test('known names are called as we define them, or only named', () => {
  for (const protocol of [2, 4] as const) {
    expect(load(pickle({ call: 'my.add', args: [2, 3] }, protocol)).value).toBe(5);
    const named = load(pickle({ global: 'my.Name' }, protocol));
    expect(named.value).toBeInstanceOf(PyGlobal);
    expect(named.placeholders).toEqual([]);
  }
  const called = load(pickle({ call: 'my.Name', args: [] }));
  expect(called.value).toBeInstanceOf(Placeholder);
  expect(called.placeholders).toEqual(['my.Name']);
});

test.each(['reduce', 'newobj', 'inst', 'obj'] as const)(
  'an unknown name that is called (%s) is inert',
  (how) => {
    const { value, placeholders } = load(pickle({ call: 'os.system', args: ['echo executed'], how }));
    expect(value).toEqual(new Placeholder('os.system'));
    expect(placeholders).toEqual(['os.system']);
  },
);

test('the classic attack, by hand', () => {
  const { value, placeholders } = load(new TextEncoder().encode("cos\nsystem\n(S'echo executed'\ntR."));
  expect(value).toEqual(new Placeholder('os.system'));
  expect(placeholders).toEqual(['os.system']);
});

test('os.system is recognised under the name Python pickles it by', () => {
  const { placeholders } = load(pickle({ call: 'posix.system', args: ['echo executed'] }, 4));
  expect(placeholders).toEqual(['posix.system (os.system)']);
});

test('state, items and keys for a placeholder vanish in it', () => {
  const object: Py = { call: 'argparse.Namespace', args: [], how: 'newobj' };
  expect(load(pickle({ object, state: new Map([['a', 1]]) })).value).toEqual(
    new Placeholder('argparse.Namespace'),
  );
  expect(load(pickle({ object, items: new Map([['a', 1]]) })).value).toEqual(
    new Placeholder('argparse.Namespace'),
  );
  const extension = load(new Bytes().u8(0x82).u8(9).text(')R.').bytes());
  expect(extension.placeholders).toEqual(['copyreg extension 9']);
});

test('NEWOBJ_EX and persistent ids', () => {
  const bytes = new Bytes().text('ca\nB\n').text(')}').u8(0x92).text('.').bytes();
  expect(load(bytes).value).toEqual(new Placeholder('a.B'));
  expect(plain(load(pickle({ persistent: 'id' })).value)).toEqual({ tuple: ['persistent', 'id'] });
  expect(plain(code((b) => b.text('Pid\n.')))).toEqual({ tuple: ['persistent', 'id'] });
});

test.each<[string, (bytes: Bytes) => Bytes, string]>([
  ['nothing at all', (b) => b, 'byte 0: 1 bytes are needed'],
  ['no STOP', (b) => b.text('N'), 'byte 1'],
  ['an unknown instruction', (b) => b.u8(0xff), 'byte 0: unknown instruction 0xff'],
  ['protocol 6', (b) => b.u8(0x80).u8(6), 'protocol 6'],
  ['an empty stack', (b) => b.text('N0.'), 'byte 2: the stack is empty'],
  ['an empty stack for a tuple', (b) => b.text('N').u8(0x87), 'byte 1: the stack is empty'],
  ['a reach below the mark', (b) => b.text('N(0'.repeat(1)).text('N(').u8(0x85), 'the stack is empty'],
  ['no mark', (b) => b.text('Nt'), 'byte 1: no mark'],
  ['an unset memo entry', (b) => b.text('h').u8(7), 'memo entry 7'],
  ['an unset long memo entry', (b) => b.text('j').u32(4e9), 'memo entry 4000000000'],
  ['a negative memo entry', (b) => b.text('Np-1\n'), 'memo entry -1'],
  ['a text longer than the data', (b) => b.text('X').u32(0xfffffff0).text('abc'), 'byte 0: 4294967280 bytes'],
  [
    'an 8-byte length',
    (b) =>
      b
        .u8(0x8d)
        .u64(2 ** 60)
        .text('abc'),
    'byte 0',
  ],
  ['a frame longer than the data', (b) => b.u8(0x95).u64(100).text('N.'), 'byte 0: 100 bytes'],
  ['an integer of a thousand bytes', (b) => b.u8(0x8b).u32(1000).raw(new Uint8Array(1000)), '1000 bytes'],
  ['a line without end', (b) => b.text('I123'), 'ends within a line'],
  ['an integer that is text', (b) => b.text('Iabc\n'), 'integer'],
  ['a call of a number', (b) => b.text('K').u8(1).text(')R.'), 'neither class nor function'],
  ['a call without a tuple', (b) => b.text('cmy\nadd\nNR.'), 'my.add'],
  ['items for a number', (b) => b.text('K').u8(1).text('Na.'), 'not a list'],
  ['keys for a list', (b) => b.text(']NNs.'), 'not a dict'],
  ['a key without a value', (b) => b.text('}(Nu.'), 'key without a value'],
  ['state for a number', (b) => b.text('K').u8(1).text('Nb.'), 'no object'],
  ['a global named by numbers', (b) => b.text('NN').u8(0x93), 'not named by text'],
  ['an object without a class', (b) => b.text('(o'), 'without a class'],
  ['an out-of-band buffer', (b) => b.u8(0x97), 'out-of-band'],
])('%s is a bad file', async (_, build, text) => {
  await expectError(() => code(build), 'bad-file', 'test.pkl, byte', text);
});

test('deep nesting and long chains take neither stack nor time', () => {
  const deep = new Bytes().text('N').raw(new Uint8Array(300_000).fill(0x85)).text('.').bytes();
  expect(load(deep).value).toBeInstanceOf(PyTuple);
  // A list that is copied over and over would need 10^10 items; nothing here copies.
  const marks = new Bytes().text('(').raw(new Uint8Array(100_000).fill(0x4e)).text('l');
  const doubled = marks.raw(new Uint8Array(100_000).fill(0x32)).text('.').bytes();
  expect(load(doubled).value).toHaveLength(100_000);
});
