/** Variants of kernels: what planners choose between, how variants are called outside, and who has the say. */
import { SgpSamError } from '../../base/errors.js';
import type { KernelCall } from './call.js';
import type { Capabilities } from './capabilities.js';

/** A way to compute something. A family's variants are told apart by `kind`; what else one has is its planner's. */
export interface Variant {
  readonly kind: string;
}

/** How the variants of some kernels are called: on the command line, in the tuned table, in reports. */
export interface VariantFamily<V extends Variant> {
  /** Its kind and sizes: `tiled-64x64`. */
  nameOf(variant: V): string;
  /** The kind that a name is, or is of; undefined where it is none of the family's. */
  kindOf(name: string): V['kind'] | undefined;
}

/** Kind → the fields of such a variant that its name has, all of them whole numbers. */
export type VariantSizes<V extends Variant> = {
  readonly [K in V['kind']]: readonly (keyof Extract<V, { readonly kind: K }>)[];
};

/** Names made of a kind and sizes: `shared`, `subgroup-2`, `tiled-64x64`. The one place where a name is taken apart. */
export function sizedNames<V extends Variant>(sizes: VariantSizes<V>): VariantFamily<V> {
  const of = new Map<string, readonly PropertyKey[]>(Object.entries(sizes));
  return {
    nameOf(variant) {
      const fields = of.get(variant.kind) ?? [];
      const values = fields.map((field) => (variant as unknown as Record<PropertyKey, number>)[field]);
      return [variant.kind, ...(values.length > 0 ? [values.join('x')] : [])].join('-');
    },
    kindOf(name) {
      if (of.has(name)) return name;
      const [, kind = '', values = ''] = /^(.+)-(\d+(?:x\d+)*)$/.exec(name) ?? [];
      const fields = of.get(kind) ?? [];
      return fields.length > 0 && values.split('x').length === fields.length ? kind : undefined;
    },
  };
}

const varied = new Set<string>();

/** The kernels that have variants to choose from, of every operation whose module was loaded; sorted. */
export const variedKernels = (): string[] => [...varied].sort();

/** Makes a family known as that of these kernels; two may have one, where operations share a kernel's name. */
export function defineVariants<V extends Variant>(
  kernels: readonly string[],
  family: VariantFamily<V>,
): VariantFamily<V> {
  for (const kernel of kernels) varied.add(kernel);
  return family;
}

/** What a planner lets others choose between. */
export interface Choice<V extends Variant> {
  /** What the best variant depends on, for the tuner: the shape. */
  readonly shape: string;
  /** The variants that serve the shape on this device. */
  readonly candidates: readonly V[];
  /** What the rule takes; of a kind, where that is forced, if the kind has a usual one. */
  readonly usual: V | ((kind: V['kind'] | undefined) => V);
  /** Which of several dispatches that are forced under one name, but measured each by itself. */
  readonly pass?: string;
}

/** What was chosen, and what a `KernelCall` tells of it. */
export interface Chosen<V extends Variant> {
  readonly chosen: V;
  readonly call: Required<Pick<KernelCall<unknown>, 'kernel' | 'variant' | 'tunable'>>;
}

/**
 * The variant for a shape: forced, by its name or its kind's, else as measured on this device, else the usual one.
 * @throws SgpSamError `bad-argument` listing what there is on this device, where what is forced is not
 */
export function chosenVariant<V extends Variant>(
  caps: Pick<Capabilities, 'force' | 'tuned'>,
  kernel: string,
  family: VariantFamily<V>,
  { shape, candidates, usual, pass }: Choice<V>,
): Chosen<V> {
  const shown = (variant: V) => `${pass ? `${pass}, ` : ''}${family.nameOf(variant)}`;
  const key = [kernel, ...(pass ? [pass] : []), shape].join(' ');
  const usualOf = (kind?: V['kind']): V => (typeof usual === 'function' ? usual(kind) : usual);
  const forced = caps.force?.[kernel];
  const measured = caps.tuned?.[key];
  const chosen =
    forced === undefined
      ? (candidates.find((v) => shown(v) === measured) ?? usualOf())
      : forcedVariant(kernel, forced, family, candidates, usualOf);
  return {
    chosen,
    call: { kernel, variant: shown(chosen), tunable: { key, candidates: candidates.map(shown) } },
  };
}

/** By its own name; or by its kind's, the usual one if that serves, else the first. */
function forcedVariant<V extends Variant>(
  kernel: string,
  forced: string,
  family: VariantFamily<V>,
  candidates: readonly V[],
  usualOf: (kind: V['kind']) => V,
): V {
  const names = candidates.map(family.nameOf);
  const exact = candidates[names.indexOf(forced)];
  if (exact) return exact;
  const ofKind = candidates.filter(({ kind }) => kind === forced);
  const [first] = ofKind;
  if (first) {
    const usual = family.nameOf(usualOf(first.kind));
    return ofKind.find((v) => family.nameOf(v) === usual) ?? first;
  }
  throw new SgpSamError(
    'bad-argument',
    `${kernel} has no variant '${forced}' on this device`,
    `Available: ${[...new Set([...candidates.map(({ kind }) => kind), ...names])].join(', ')}.`,
  );
}

/** A family of kinds alone, and the choice between them. */
export interface PlainVariants<K extends string> {
  /**
   * {@link chosenVariant} of kinds.
   * @param usual the rule's kind
   * @param candidates all kinds unless given
   */
  choose(
    caps: Pick<Capabilities, 'force' | 'tuned'>,
    kernel: string,
    shape: string,
    usual: K,
    candidates?: readonly K[],
  ): { readonly kind: K; readonly call: Chosen<Variant>['call'] };
}

/** Makes a family known whose variants have no sizes, only kinds. */
export function plainVariants<K extends string>(
  kernels: readonly string[],
  kinds: readonly K[],
): PlainVariants<K> {
  type V = { readonly kind: K };
  const sizes = Object.fromEntries(kinds.map((kind) => [kind, []])) as unknown as VariantSizes<V>;
  const family = defineVariants(kernels, sizedNames<V>(sizes));
  return {
    choose(caps, kernel, shape, usual, candidates = kinds) {
      const choice = { shape, candidates: candidates.map((kind) => ({ kind })), usual: { kind: usual } };
      const { chosen, call } = chosenVariant<V>(caps, kernel, family, choice);
      return { kind: chosen.kind, call };
    },
  };
}
