/** Options of commands, each written once: what commander shows, how a text becomes a value, and so the value's type. */
import { type Command, Option as Declared } from 'commander';
import { SgpSamError } from '../base/errors.js';

/** A text's value. `option` is how errors call it: `--seed`. */
export type Read<T> = (option: string, text: string) => T;

/** One option, without its name, which is its place in a table. */
export interface Option<T> {
  readonly kind: 'flag' | 'off' | 'one' | 'many';
  /** `<n>`, or with a letter of its own: `-o, <file>`. */
  readonly argument: string;
  readonly help: string;
  readonly required?: boolean;
  /** What it was called before: taken still, and not shown. */
  readonly formerly?: string;
  /** What is read where nothing was given. */
  readonly fallback?: string;
  readonly read: Read<unknown>;
  /** Only a type. */
  readonly value?: T;
}

/** The options of a command, by the names that its values have: `phantomSize` is `--phantom-size`. */
export type Table = Readonly<Record<string, Option<unknown>>>;

/** What a table's options come to. */
export type Values<T extends Table> = {
  readonly [K in keyof T]: T[K] extends Option<infer V> ? V : never;
};

/** An option with an argument; without a fallback it may be undefined. */
export function option<T>(argument: string, help: string, read: Read<T>, fallback: string): Option<T>;
export function option<T>(argument: string, help: string, read: Read<T>): Option<T | undefined>;
export function option<T>(argument: string, help: string, read: Read<T>, fallback?: string): Option<T> {
  return { kind: 'one', argument, help, read, ...(fallback === undefined ? {} : { fallback }) };
}

/** One that has to be given. */
export const required = <T>(argument: string, help: string, read: Read<T>): Option<T> => ({
  kind: 'one',
  argument,
  help,
  read,
  required: true,
});

/** One that can be repeated. */
export const many = <T>(argument: string, help: string, read: Read<T>): Option<readonly T[]> => ({
  kind: 'many',
  argument,
  help,
  read,
});

/** One that takes several texts after each other. */
export const several = (argument: string, help: string): Option<readonly string[] | undefined> => ({
  kind: 'one',
  argument,
  help,
  read: asIs,
});

/** One that had another name. */
export const formerly = <T>(name: string, of: Option<T>): Option<T> => ({ ...of, formerly: name });

/** False unless given. */
export const flag = (help: string, letter = ''): Option<boolean> => ({
  kind: 'flag',
  argument: letter,
  help,
  read: asIs,
});

/** `--no-…`: true unless given. */
export const off = (help: string): Option<boolean> => ({ kind: 'off', argument: '', help, read: asIs });

/** A text as it stands. */
export const asIs: Read<string> = (_, text) => text;

/** A number. */
export const number: Read<number> = (option, text) => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new SgpSamError('bad-argument', `${option} '${text}' is not a number`);
};

/** A whole number, `least` or more. */
export const wholeFrom =
  (least: number): Read<number> =>
  (option, text) => {
    const value = number(option, text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new SgpSamError('bad-argument', `${option} ${text} is not a whole number from ${least}`);
  };
export const whole = wholeFrom(1);

/** A number or a range of them: 3, 1-8. */
const rangeBy =
  (pattern: RegExp, instance: string): Read<{ min: number; max: number }> =>
  (option, text) => {
    const match = pattern.exec(text.trim());
    if (match) return { min: Number(match[1]), max: Number(match[2] ?? match[1]) };
    throw new SgpSamError(
      'bad-argument',
      `${option} '${text}' is not a number or a range`,
      `For instance: ${option} ${instance}`,
    );
  };
export const range = rangeBy(/^(\d+)(?:-(\d+))?$/, '1-8');
export const fractionRange = rangeBy(/^(\d*\.?\d+)(?:-(\d*\.?\d+))?$/, '0.08-1.3');

/** One of several words. */
export const oneOf =
  <const T extends string>(all: readonly T[]): Read<T> =>
  (option, text) => {
    const found = all.find((one) => one === text);
    if (found !== undefined) return found;
    throw new SgpSamError('bad-argument', `${option} '${text}' is none of ${all.join(', ')}`);
  };

/** `--phantom-size` of `phantomSize`. */
export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;

/** Declares a table's options, in its order. */
export function declare(command: Command, table: Table): Command {
  for (const [name, one] of Object.entries(table)) {
    const { kind, argument, help, required = false, fallback, formerly: former } = one;
    const [, letter = '', value] = /^(-\w, ?)?(.*)$/.exec(argument) ?? [];
    const long = kind === 'off' ? flagOf(name).replace('--', '--no-') : flagOf(name);
    const declared = new Declared(`${letter}${long} ${value}`.trimEnd(), help).makeOptionMandatory(required);
    if (kind === 'many') {
      declared.argParser((text: string, before: readonly string[]) => [...before, text]).default([]);
    } else if (kind === 'flag') declared.default(false);
    else if (fallback !== undefined) declared.default(fallback);
    command.addOption(declared);
    if (former) command.addOption(new Declared(`${flagOf(former)} ${value}`).hideHelp());
  }
  return command;
}

/**
 * The values of what commander has parsed, in the table's order.
 * @throws SgpSamError `bad-argument` naming the option
 */
export function valuesOf<T extends Table>(table: T, parsed: Readonly<Record<string, unknown>>): Values<T> {
  const values = Object.entries(table).map(([name, { read, formerly = '' }]) => {
    const given = parsed[name] ?? parsed[formerly];
    const value = (text: string): unknown => read(flagOf(name), text);
    return [name, typeof given === 'string' ? value(given) : Array.isArray(given) ? given.map(value) : given];
  });
  return Object.fromEntries(values) as Values<T>;
}
