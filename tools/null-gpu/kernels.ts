/**
 * The models' kernels as Mesa compiles them for a GPU that is not there: every one that the rules pick, and every other variant that a
 * shape has. What tools/null-gpu/table.mjs bundles, and kernels-test/tools/null-gpu.test.ts.
 */
import { left, type Table, tableOf } from '../../src/base/table.js';
import { graphOf } from '../../src/cli/graphs.js';
import { WORK } from '../../src/cli/work.js';
import {
  type CompiledKernel,
  figuresOf,
  figuresTable,
  type KernelFigures,
} from '../../src/engine/gpu/node/isa.js';
import { type NullFamily, type NullGpu, openNullGpu } from '../../src/engine/gpu/node/null-gpu.js';
import { planGraph } from '../../src/engine/graph/plan.js';
import type { KernelCall } from '../../src/engine/kernels/call.js';
import { type Capabilities, capabilitiesOf } from '../../src/engine/kernels/capabilities.js';
import { configByName } from '../../src/sam/config.js';

/** Families that are looked at, one of each generation whose compiler differs. */
export const FAMILIES: readonly NullFamily[] = ['navi31', 'navi21', 'gfx1200', 'polaris10'];
/** Models whose encode, decode and training step (of everything) are looked at. */
const MODELS = ['sgp-vit_b_ori', 'sgp-small'];

/** The variants of one kernel over all its shapes: the most of everything, the fewest waves. */
export interface Row extends CompiledKernel {
  /** Whether a rule picks it, or it has to be forced. */
  readonly picked: boolean;
  /** How many texts. */
  readonly texts: number;
}

/** What was compiled for a family. */
export interface Compilation {
  readonly family: NullFamily;
  /** As it calls itself, for instance `Mesa 25.0.7-2~bpo12+1`. */
  readonly driver: string;
  readonly rows: readonly Row[];
  /** Variants that the driver does not compile, with its words. */
  readonly refused: readonly string[];
}

type Call = KernelCall<unknown>;

/** Every text of the models' programs by kernel and variant. */
function callsOf(caps: Capabilities): Call[] {
  return MODELS.flatMap((name) =>
    WORK.flatMap((work) => [...planGraph(graphOf(work, configByName(name), '*'), caps).calls]),
  );
}

/** The variants that no rule picks: each name as if it had been measured to be the best wherever it serves. */
function otherCalls(caps: Capabilities, picked: readonly Call[]): Call[] {
  const tunable = new Map(
    picked.flatMap(({ tunable }) => (tunable ? [[tunable.key, tunable] as const] : [])),
  );
  const names = new Set([...tunable.values()].flatMap(({ candidates }) => candidates));
  return [...names].flatMap((name) => {
    const keys = [...tunable.values()].filter(({ candidates }) => candidates.includes(name));
    return callsOf({ ...caps, tuned: Object.fromEntries(keys.map(({ key }) => [key, name])) });
  });
}

const worst = (a: KernelFigures, b: KernelFigures): KernelFigures => {
  // Counts of instructions are those of the text with the most arithmetic.
  const { lds16, lds4, buffer16, buffer4, multiplyAdds, matrices } = a.multiplyAdds >= b.multiplyAdds ? a : b;
  const most = (key: keyof KernelFigures) => Math.max(a[key], b[key]);
  return {
    ...{ lds16, lds4, buffer16, buffer4, multiplyAdds, matrices },
    subgroupSize: most('subgroupSize'),
    vgprs: most('vgprs'),
    sgprs: most('sgprs'),
    spilledVgprs: most('spilledVgprs'),
    spilledSgprs: most('spilledSgprs'),
    lds: most('lds'),
    waves: Math.min(a.waves, b.waves),
    code: most('code'),
  };
};

/** Compiles distinct texts, and gathers them by kernel and variant. */
export async function compileCalls(
  device: NullGpu,
  calls: readonly { kernel: string; variant: string; shader: Call['shader'] }[],
  picked: boolean,
): Promise<{ rows: Row[]; refused: string[] }> {
  const rdna = device.gpu.tier.subgroupMinSize === 32;
  const rows = new Map<string, Row>();
  const refused = new Set<string>();
  for (const { kernel, variant, shader } of new Map(calls.map((call) => [call.shader.code, call])).values()) {
    const name = `${kernel} ${variant}`;
    try {
      const figures = figuresOf(await device.compile(shader), rdna);
      const before = rows.get(name);
      rows.set(name, {
        kernel,
        variant,
        picked,
        texts: (before?.texts ?? 0) + 1,
        figures: before ? worst(before.figures, figures) : figures,
      });
    } catch (error) {
      if (picked) throw error;
      refused.add(
        `${name}: ${String((error as Error).message)
          .split('\n')
          .at(-1)
          ?.trim()}`,
      );
    }
  }
  return { rows: [...rows.values()], refused: [...refused] };
}

/** @param forced whether variants that no rule picks are compiled as well */
export async function compileFamily(family: NullFamily, forced: boolean): Promise<Compilation> {
  const device = await openNullGpu(family);
  try {
    const caps = capabilitiesOf(device);
    const picked = callsOf(caps);
    const usual = await compileCalls(device, picked, true);
    const known = new Set(picked.map(({ shader }) => shader.code));
    const others = forced ? otherCalls(caps, picked).filter(({ shader }) => !known.has(shader.code)) : [];
    const more = await compileCalls(device, others, false);
    return {
      family,
      driver: device.gpu.adapter.description.replace(/^radv: /, ''),
      rows: [...usual.rows, ...more.rows],
      refused: more.refused,
    };
  } finally {
    device.dispose();
  }
}

/** What a rule-picked kernel may take, by family and then by kernel and variant. */
export interface Budgets {
  /** The Mesa that they were recorded with: another one's registers are its own. */
  readonly driver: string;
  readonly families: Readonly<Record<string, Readonly<Record<string, Budget>>>>;
}

/** Most registers, workgroup memory and code, fewest waves. */
export type Budget = Pick<KernelFigures, 'vgprs' | 'waves' | 'lds' | 'code'>;

const budgetOf = ({ vgprs, waves, lds, code }: KernelFigures): Budget => ({ vgprs, waves, lds, code });

/** What there is now, as budgets. */
export const budgetsOf = (all: readonly Compilation[]): Budgets => ({
  driver: all[0]?.driver ?? '',
  families: Object.fromEntries(
    all.map(({ family, rows }) => [
      family,
      Object.fromEntries(
        rows
          .filter(({ picked }) => picked)
          .map(({ kernel, variant, figures }) => [`${kernel} ${variant}`, budgetOf(figures)] as const)
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
    ]),
  ),
});

/** Budgets as the file has them: a line a kernel, so that a change shows as what it is. */
export function budgetsText({ driver, families }: Budgets): string {
  const line = ([name, { vgprs, waves, lds, code }]: [string, Budget]) =>
    `      "${name}": { "vgprs": ${vgprs}, "waves": ${waves}, "lds": ${lds}, "code": ${code} }`;
  const parts = Object.entries(families).map(
    ([family, of]) => `    "${family}": {\n${Object.entries(of).map(line).join(',\n')}\n    }`,
  );
  return `{\n  "driver": "${driver}",\n  "families": {\n${parts.join(',\n')}\n  }\n}\n`;
}

/** `Mesa 25.0` of `Mesa 25.0.7-2~bpo12+1`. */
export const release = (driver: string): string => /^Mesa \d+\.\d+/.exec(driver)?.[0] ?? driver;

/** Code may grow by this without being told of: a line of WGSL here and there. */
const CODE_SLACK = 1.1;

/** What of rule-picked kernels spills or takes more than its budget; with another Mesa than the budgets' only what spills. */
export function faultsOf({ family, driver, rows }: Compilation, budgets: Budgets): string[] {
  const faults: string[] = [];
  const comparable = release(driver) === release(budgets.driver);
  for (const { kernel, variant, picked, figures } of rows) {
    if (!picked) continue;
    const name = `${kernel} ${variant}`;
    const tell = (what: string) => faults.push(`${family}: ${name} ${what}`);
    const { spilledVgprs, spilledSgprs } = figures;
    if (spilledVgprs + spilledSgprs > 0)
      tell(`spills ${spilledVgprs} vector and ${spilledSgprs} scalar registers`);
    if (!comparable) continue;
    const budget = budgets.families[family]?.[name];
    if (!budget) {
      tell('has no budget');
      continue;
    }
    if (figures.vgprs > budget.vgprs) tell(`takes ${figures.vgprs} registers of ${budget.vgprs}`);
    if (figures.waves < budget.waves) tell(`leaves ${figures.waves} waves of ${budget.waves}`);
    if (figures.lds > budget.lds) tell(`takes ${figures.lds} bytes of workgroup memory of ${budget.lds}`);
    if (figures.code > CODE_SLACK * budget.code) tell(`is ${figures.code} bytes long, of ${budget.code}`);
  }
  return faults;
}

/** What rules pick first, each by name. */
export function compilationTable({ rows }: Compilation): Table {
  const sorted = rows.toSorted(
    (a, b) =>
      Number(b.picked) - Number(a.picked) ||
      (`${a.kernel} ${a.variant}` < `${b.kernel} ${b.variant}` ? -1 : 1),
  );
  const figures = figuresTable(sorted);
  const head = tableOf(sorted, ({ picked, texts }) => [
    [left('by'), picked ? 'rule' : 'force'],
    ['texts', texts],
  ]);
  return {
    columns: [...figures.columns.slice(0, 2), ...head.columns, ...figures.columns.slice(2)],
    rows: figures.rows.map((row, i) => [...row.slice(0, 2), ...(head.rows[i] ?? []), ...row.slice(2)]),
  };
}

export { tableMarkdown as markdown, tableText as text } from '../../src/base/table.js';
