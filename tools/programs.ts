/**
 * Every program of the models as text: what `tools/programs.mjs` bundles and compares. One record a dispatch: what is compiled,
 * what is bound, and how much is run.
 */
import { createHash } from 'node:crypto';
import { type AnyCall, base, devices, modelCalls, trainingCalls } from '../kernels-test/support/programs.js';
import type { Capabilities } from '../src/engine/kernels/capabilities.js';
import { samMed3DConfigs } from '../src/sam/config.js';

export interface Programs {
  /** Digest → specialised WGSL. */
  readonly texts: Record<string, string>;
  /** Configuration, graph's kind and device → its dispatches in order, a line each. */
  readonly programs: Record<string, string[]>;
}

const shown = (caps: Capabilities): string =>
  Object.entries(caps)
    .filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(base[key as keyof Capabilities]))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(' ') || 'defaults';

const digests = new Map<string, string>();
function digestOf(code: string): string {
  const known = digests.get(code) ?? createHash('sha256').update(code).digest('hex').slice(0, 16);
  digests.set(code, known);
  return known;
}

/** What a device is too small for is part of the comparison too. */
function orRefusal(calls: () => AnyCall[]): (AnyCall | string)[] {
  try {
    return calls();
  } catch (error) {
    return [`refused: ${(error as Error).message}`];
  }
}

/** Every configuration's inference and training on every kind of device, each way of holding weights included. */
export function programs(): Programs {
  const texts: Record<string, string> = {};
  const all: Record<string, string[]> = {};
  const held = [{}, { weights: 'f16' }, { weights: 'texture' }] as const;
  for (const config of Object.values(samMed3DConfigs)) {
    for (const device of devices) {
      for (const weights of held) {
        if ('weights' in weights && device.force) continue;
        const caps = { ...device, ...weights };
        for (const [kind, callsOf] of [
          ['inference', modelCalls],
          ['training', trainingCalls],
        ] as const) {
          if (kind === 'training' && 'weights' in weights) continue;
          all[`${config.name}, ${kind}, ${shown(caps)}`] = orRefusal(() => callsOf(config, caps)).map(
            (call) => {
              if (typeof call === 'string') return call;
              const { code, bindings } = call.shader;
              const digest = digestOf(code);
              texts[digest] = code;
              const bound = bindings.map((b) => `${b.binding}:${b.name}:${b.access}`).join(',');
              const params = call.shader.params.map(({ name }) => `${name}=${call.params[name]}`).join(',');
              const scaling = call.scaling ? ` columns ${call.scaling.columns ?? '-'}` : '';
              const { flops, bytes } = call.cost;
              return `${call.kernel} ${call.variant} ${digest} [${bound}] (${params}) ${call.workgroups.join('×')}${scaling} ${flops} ${bytes}`;
            },
          );
        }
      }
    }
  }
  return { texts, programs: all };
}
