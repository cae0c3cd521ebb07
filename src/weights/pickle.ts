import { SgpSamError } from '../base/errors.js';
import { Op } from './pickle-opcodes.js';
import { PickleReader } from './pickle-reader.js';
import {
  Placeholder,
  type PyCall,
  PyDict,
  PyGlobal,
  PyOpaque,
  PyTuple,
  type PyValue,
} from './pickle-values.js';

export interface UnpickleOptions {
  /** File and part, for errors. */
  readonly place: string;
  /** Dotted names that are understood; null for one that is only named, never called. */
  readonly known: ReadonlyMap<string, PyCall | null>;
  /** Value of a persistent id (PyTorch's storages). */
  readonly persistent: (id: PyValue, fail: (what: string) => never) => PyValue;
}

export interface Unpickled {
  readonly value: PyValue;
  /** Dotted names of every class or function that was named but is not known; none of them was run. */
  readonly placeholders: readonly string[];
}

/**
 * Reads a pickle as data. A pickle is a program for a small stack machine, which in Python may call anything;
 * this machine runs all of it but calls nothing: only the `known` names have a meaning, and ours at that. All
 * others become a `Placeholder`, and so does what they are called, built or instantiated with.
 *
 * Every instruction takes at least a byte and makes a bounded number of objects, and there is a most of them: so time
 * and memory are linear in the size of the data and bounded, whatever it says. Nothing here or later follows values
 * into their depth.
 * @throws SgpSamError `bad-file` naming place and offset: truncated data, unknown instructions, an empty stack,
 *   unset memo entries, operands of the wrong kind; `unsupported` beyond the most instructions.
 */
export function unpickle(data: Uint8Array, options: UnpickleOptions): Unpickled {
  const machine = new Machine(new PickleReader(data, options.place), options);
  return { value: machine.run(), placeholders: [...machine.placeholders] };
}

/** A tensor takes about 40: this is a checkpoint of 25,000 tensors, optimizer state included. */
const MAX_INSTRUCTIONS = 1_000_000;

/** As much of the name of a class or function as messages show. */
const MAX_NAME = 200;

class Machine {
  readonly placeholders = new Set<string>();
  private readonly stack: PyValue[] = [];
  /** Stack heights at which a MARK is set. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, PyValue>();
  private readonly fail: (what: string) => never;

  constructor(
    private readonly reader: PickleReader,
    private readonly options: UnpickleOptions,
  ) {
    this.fail = reader.fail;
  }

  run(): PyValue {
    for (let count = 0; ; count++) {
      const op = this.reader.opcode();
      if (op === Op.STOP) return this.pop();
      if (count === MAX_INSTRUCTIONS) {
        throw new SgpSamError(
          'unsupported',
          `${this.options.place}: more than ${MAX_INSTRUCTIONS} instructions, far more than a state dict takes`,
          'In PyTorch: torch.save(model.state_dict(), path).',
        );
      }
      if (!this.literal(op) && !this.container(op) && !this.memory(op) && !this.object(op)) {
        this.fail(`unknown instruction 0x${op.toString(16).padStart(2, '0')}`);
      }
    }
  }

  /** Instructions that push one value spelled out in the data. */
  private literal(op: number): boolean {
    const { reader, stack } = this;
    switch (op) {
      case Op.NONE:
        stack.push(null);
        return true;
      case Op.NEWTRUE:
        stack.push(true);
        return true;
      case Op.NEWFALSE:
        stack.push(false);
        return true;
      case Op.BININT:
        stack.push(reader.i32());
        return true;
      case Op.BININT1:
        stack.push(reader.u8());
        return true;
      case Op.BININT2:
        stack.push(reader.u16());
        return true;
      case Op.LONG1:
        stack.push(reader.long(reader.u8()));
        return true;
      case Op.LONG4:
        stack.push(reader.long(reader.u32()));
        return true;
      case Op.INT:
      case Op.LONG:
        // 'I01' and 'I00' are how protocol 0 spells booleans; as 1 and 0 they serve us as well.
        stack.push(reader.decimal());
        return true;
      case Op.BINFLOAT:
        stack.push(reader.f64());
        return true;
      case Op.FLOAT:
        stack.push(Number(reader.line()));
        return true;
      case Op.SHORT_BINUNICODE:
      case Op.SHORT_BINSTRING:
        stack.push(reader.utf8(reader.u8()));
        return true;
      case Op.BINUNICODE:
      case Op.BINSTRING:
        stack.push(reader.utf8(reader.u32()));
        return true;
      case Op.BINUNICODE8:
        stack.push(reader.utf8(reader.u64()));
        return true;
      case Op.STRING:
        // A quoted Python literal. Its escapes are left as they are: nothing we look for has any.
        stack.push(reader.line().replace(/^(['"])(.*)\1$/s, '$2'));
        return true;
      case Op.UNICODE:
        stack.push(reader.line());
        return true;
      case Op.SHORT_BINBYTES:
        stack.push(reader.raw(reader.u8()));
        return true;
      case Op.BINBYTES:
        stack.push(reader.raw(reader.u32()));
        return true;
      case Op.BINBYTES8:
      case Op.BYTEARRAY8:
        stack.push(reader.raw(reader.u64()));
        return true;
      default:
        return false;
    }
  }

  /** Instructions that make or fill tuples, lists, sets and dicts. */
  private container(op: number): boolean {
    const { stack } = this;
    switch (op) {
      case Op.MARK:
        this.marks.push(stack.length);
        return true;
      case Op.EMPTY_TUPLE:
        stack.push(new PyTuple([]));
        return true;
      case Op.TUPLE1:
      case Op.TUPLE2:
      case Op.TUPLE3:
        stack.push(new PyTuple(this.popMany(op - Op.TUPLE1 + 1)));
        return true;
      case Op.TUPLE:
        stack.push(new PyTuple(this.popToMark()));
        return true;
      case Op.EMPTY_LIST:
      case Op.EMPTY_SET: // Nothing ever looks into a set, so a list does for it.
        stack.push([]);
        return true;
      case Op.LIST:
      case Op.FROZENSET:
        stack.push(this.popToMark());
        return true;
      case Op.EMPTY_DICT:
        stack.push(new PyDict());
        return true;
      case Op.DICT: {
        const dict = new PyDict();
        this.setItems(dict, this.popToMark());
        stack.push(dict);
        return true;
      }
      case Op.APPEND:
        this.append(this.popMany(1));
        return true;
      case Op.APPENDS:
      case Op.ADDITEMS:
        this.append(this.popToMark());
        return true;
      case Op.SETITEM: {
        const pair = this.popMany(2);
        this.setItems(this.top(), pair);
        return true;
      }
      case Op.SETITEMS: {
        const items = this.popToMark();
        this.setItems(this.top(), items);
        return true;
      }
      default:
        return false;
    }
  }

  /** Instructions about the stack, the memo and the framing of the data. */
  private memory(op: number): boolean {
    const { reader, stack, memo } = this;
    switch (op) {
      case Op.PROTO: {
        const protocol = reader.u8();
        if (protocol > 5) this.fail(`pickle protocol ${protocol} is newer than 5`);
        return true;
      }
      case Op.FRAME: {
        const start = reader.at + 8;
        const length = reader.u64();
        reader.raw(length); // only to check that it is there
        reader.at = start;
        return true;
      }
      case Op.POP:
        // Python pops the mark when nothing was pushed since.
        if (this.marks.at(-1) === stack.length) this.marks.pop();
        else this.pop();
        return true;
      case Op.POP_MARK:
        this.popToMark();
        return true;
      case Op.DUP:
        stack.push(this.top());
        return true;
      case Op.PUT:
        memo.set(this.memoKey(reader.decimal()), this.top());
        return true;
      case Op.BINPUT:
        memo.set(reader.u8(), this.top());
        return true;
      case Op.LONG_BINPUT:
        memo.set(reader.u32(), this.top());
        return true;
      case Op.MEMOIZE:
        memo.set(memo.size, this.top());
        return true;
      case Op.GET:
        this.recall(this.memoKey(reader.decimal()));
        return true;
      case Op.BINGET:
        this.recall(reader.u8());
        return true;
      case Op.LONG_BINGET:
        this.recall(reader.u32());
        return true;
      default:
        return false;
    }
  }

  /** Instructions that in Python name, call or restore objects. */
  private object(op: number): boolean {
    const { reader, stack } = this;
    switch (op) {
      case Op.GLOBAL:
        stack.push(this.global(reader.line(), reader.line()));
        return true;
      case Op.STACK_GLOBAL: {
        const [module, name] = this.popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          this.fail('a global that is not named by text');
        else stack.push(this.global(module, name));
        return true;
      }
      case Op.EXT1:
        stack.push(this.extension(reader.u8()));
        return true;
      case Op.EXT2:
        stack.push(this.extension(reader.u16()));
        return true;
      case Op.EXT4:
        stack.push(this.extension(reader.i32()));
        return true;
      case Op.REDUCE:
      case Op.NEWOBJ: {
        const [callee, args] = this.popMany(2);
        stack.push(this.call(callee!, args!));
        return true;
      }
      case Op.NEWOBJ_EX: {
        const [callee, args] = this.popMany(3);
        stack.push(this.call(callee!, args!));
        return true;
      }
      case Op.INST: {
        const callee = this.global(reader.line(), reader.line());
        stack.push(this.call(callee, new PyTuple(this.popToMark())));
        return true;
      }
      case Op.OBJ: {
        const [callee, ...args] = this.popToMark();
        if (callee === undefined) this.fail('an object without a class');
        else stack.push(this.call(callee, new PyTuple(args)));
        return true;
      }
      case Op.BUILD: {
        this.pop(); // the state: attributes, which none of our values have
        const target = this.top();
        if (target === null || typeof target !== 'object') this.fail('state for something that is no object');
        return true;
      }
      case Op.PERSID:
        stack.push(this.options.persistent(reader.line(), this.fail));
        return true;
      case Op.BINPERSID:
        stack.push(this.options.persistent(this.pop(), this.fail));
        return true;
      case Op.NEXT_BUFFER:
      case Op.READONLY_BUFFER:
        return this.fail('out-of-band buffers, which a file cannot have');
      default:
        return false;
    }
  }

  private global(module: string, name: string): PyGlobal | Placeholder {
    const dotted = `${module === '__builtin__' ? 'builtins' : module}.${name}`;
    const call = this.options.known.get(dotted);
    if (call !== undefined) return new PyGlobal(dotted, call ?? undefined);
    // os.system is pickled under the module that implements it; people search for the name they know.
    const alias = module === 'posix' || module === 'nt' ? ` (os.${name})` : '';
    return this.placeholder(dotted + alias);
  }

  private extension(code: number): Placeholder {
    return this.placeholder(`copyreg extension ${code}`);
  }

  private placeholder(name: string): Placeholder {
    const dotted = name.slice(0, MAX_NAME);
    this.placeholders.add(dotted);
    return new Placeholder(dotted);
  }

  private call(callee: PyValue, args: PyValue): PyValue {
    if (callee instanceof Placeholder) return callee;
    if (!(callee instanceof PyGlobal))
      return this.fail('a call of something that is neither class nor function');
    if (!(args instanceof PyTuple))
      return this.fail(`a call of ${callee.dotted} without a tuple of arguments`);
    if (callee.call === undefined) return this.placeholder(callee.dotted);
    return callee.call(args.items, this.fail);
  }

  private append(items: readonly PyValue[]): void {
    const target = this.top();
    if (Array.isArray(target)) for (const item of items) target.push(item);
    else if (!isInert(target)) this.fail('items for something that is not a list');
  }

  private setItems(target: PyValue, items: readonly PyValue[]): void {
    if (items.length % 2 !== 0) this.fail('a key without a value');
    if (target instanceof PyDict) {
      for (let i = 0; i < items.length; i += 2) target.entries.set(items[i]!, items[i + 1]!);
    } else if (!isInert(target)) {
      this.fail('keys for something that is not a dict');
    }
  }

  private memoKey(key: number | bigint): number {
    return typeof key === 'number' && key >= 0 ? key : this.fail(`memo entry ${key}`);
  }

  private recall(key: number): void {
    const value = this.memo.get(key);
    if (value === undefined) this.fail(`memo entry ${key} is used before it is set`);
    else this.stack.push(value);
  }

  /** Height below which the current instruction may not reach: the last mark. */
  private get floor(): number {
    return this.marks.at(-1) ?? 0;
  }

  private top(): PyValue {
    if (this.stack.length <= this.floor) return this.fail('the stack is empty');
    return this.stack.at(-1)!;
  }

  private pop(): PyValue {
    return this.popMany(1)[0]!;
  }

  private popMany(count: number): PyValue[] {
    if (this.stack.length - count < this.floor) return this.fail('the stack is empty');
    return this.stack.splice(this.stack.length - count);
  }

  private popToMark(): PyValue[] {
    const mark = this.marks.pop();
    if (mark === undefined) return this.fail('no mark is set');
    return this.stack.splice(mark);
  }
}

/** Placeholders swallow whatever is put into them; so do the values that known calls made. */
function isInert(value: PyValue): boolean {
  return value instanceof Placeholder || value instanceof PyOpaque;
}
