/**
 * docs/modules.svg: the folders of src as layers, with an arrow for every pair of which one imports the other. Everything in it
 * comes from the imports (`imports.ts`). Places are by Sugiyama's method (1981): a row per longest path down, points of their own
 * for arrows that pass a row, orders by the mean place of the neighbours.
 */
import { importsBelow } from './imports.js';

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly imports: number;
}

interface Place {
  x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

type Point = readonly [number, number];

interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly places: ReadonlyMap<string, Place>;
  readonly arrows: readonly { readonly edge: Edge; readonly points: readonly Point[] }[];
}

/** Edges between what `group` makes of the files' names; counts are of import statements. */
function edgesOf(root: string, group: (name: string) => string | undefined): Edge[] {
  const counts = new Map<string, number>();
  for (const { from, target } of importsBelow(root)) {
    const [a, b] = [group(from), group(target)];
    if (a && b && a !== b) counts.set(`${a} ${b}`, (counts.get(`${a} ${b}`) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([pair, imports]) => {
      const [from = '', to = ''] = pair.split(' ');
      return { from, to, imports };
    });
}

/** The longest way down from a name: 0 for what imports nothing. */
function levels(edges: readonly Edge[]): Map<string, number> {
  const found = new Map<string, number>();
  const level = (name: string, trail: readonly string[]): number => {
    if (trail.includes(name)) throw new Error(`imports go round: ${[...trail, name].join(' → ')}`);
    const below = edges.filter(({ from }) => from === name).map(({ to }) => level(to, [...trail, name]) + 1);
    found.set(name, Math.max(0, ...below));
    return found.get(name) ?? 0;
  };
  for (const { from, to } of edges) for (const name of [from, to]) level(name, []);
  return found;
}

/** Rows from the top; a point `from>to@level` stands where an arrow passes a row. */
function draw(
  edges: readonly Edge[],
  sizeOf: (name: string) => readonly [number, number],
  gaps: { readonly x: number; readonly y: number },
): Drawing {
  const level = levels(edges);
  const top = Math.max(...level.values());
  const rows: string[][] = Array.from({ length: top + 1 }, () => []);
  for (const [name, at] of [...level].sort(([a], [b]) => (a < b ? -1 : 1))) rows[top - at]?.push(name);
  const chains = edges.map((edge) => {
    const chain = [edge.from];
    for (let at = (level.get(edge.from) ?? 0) - 1; at > (level.get(edge.to) ?? 0); at--) {
      const point = `${edge.from}>${edge.to}@${at}`;
      rows[top - at]?.push(point);
      chain.push(point);
    }
    return { edge, chain: [...chain, edge.to] };
  });
  const near = new Map<string, string[]>();
  for (const { chain } of chains) {
    for (let n = 1; n < chain.length; n++) {
      const [a = '', b = ''] = [chain[n - 1], chain[n]];
      near.set(a, [...(near.get(a) ?? []), b]);
      near.set(b, [...(near.get(b) ?? []), a]);
    }
  }
  const isPoint = (name: string): boolean => name.includes('>');
  const size = (name: string): readonly [number, number] => (isPoint(name) ? [4, 0] : sizeOf(name));

  const places = new Map<string, Place>();
  let y = 0;
  for (const row of rows) {
    const height = Math.max(...row.map((name) => size(name)[1]));
    for (const name of row) {
      const [width, own] = isPoint(name) ? [4, height] : size(name);
      places.set(name, { x: 0, y, width, height: own });
    }
    y += height + gaps.y;
  }
  const place = (name: string): Place => places.get(name) ?? { x: 0, y: 0, width: 0, height: 0 };
  /** Side by side in their order, and as near as that allows to where each wants to be. */
  const pack = (row: readonly string[], wanted: readonly number[]): void => {
    const gap = (a: string, b: string): number => (isPoint(a) && isPoint(b) ? gaps.x / 3 : gaps.x);
    const blocks: { sum: number; count: number; names: string[]; offsets: number[] }[] = [];
    row.forEach((name, n) => {
      let block = { sum: wanted[n] ?? 0, count: 1, names: [name], offsets: [0] };
      for (let before = blocks.at(-1); before; before = blocks.at(-1)) {
        const last = before.names.at(-1) ?? '';
        const head = block.names[0] ?? '';
        const apart = (place(last).width + place(head).width) / 2 + gap(last, head);
        const shift = (before.offsets.at(-1) ?? 0) + apart;
        if (before.sum / before.count + shift <= block.sum / block.count) break;
        blocks.pop();
        block = {
          sum: before.sum + block.sum - shift * block.count,
          count: before.count + block.count,
          names: [...before.names, ...block.names],
          offsets: [...before.offsets, ...block.offsets.map((offset) => offset + shift)],
        };
      }
      blocks.push(block);
    });
    for (const { sum, count, names, offsets } of blocks)
      names.forEach((name, n) => {
        place(name).x = sum / count + (offsets[n] ?? 0);
      });
  };
  for (const row of rows)
    pack(
      row,
      row.map((_, n) => n * 150),
    );
  for (let sweep = 0; sweep < 60; sweep++) {
    for (const row of sweep % 2 === 0 ? rows : [...rows].reverse()) {
      const mean = (name: string): number => {
        const xs = (near.get(name) ?? []).map((other) => place(other).x);
        return xs.length > 0 ? xs.reduce((a, b) => a + b, 0) / xs.length : place(name).x;
      };
      const wanted = new Map(row.map((name) => [name, mean(name)]));
      const want = (name: string): number => wanted.get(name) ?? 0;
      if (sweep < 40) row.sort((a, b) => want(a) - want(b) || (a < b ? -1 : 1));
      pack(row, row.map(want));
    }
  }
  const left = Math.min(...[...places.values()].map(({ x, width }) => x - width / 2));
  const right = Math.max(...[...places.values()].map(({ x, width }) => x + width / 2));
  for (const one of places.values()) one.x = Math.round(one.x - left);

  /** Where an arrow leaves or meets a box: spread over its edge in the order of where the arrows go. */
  const port = (name: string, other: string, down: boolean): Point => {
    const { x, y: at, width, height } = place(name);
    const others = chains
      .flatMap(({ chain }) => {
        const n = chain.indexOf(name);
        const next = n < 0 ? undefined : chain[down ? n + 1 : n - 1];
        return next ? [next] : [];
      })
      .sort((a, b) => place(a).x - place(b).x || (a < b ? -1 : 1));
    const share = (others.indexOf(other) + 1) / (others.length + 1);
    return [Math.round(x + width * (share - 0.5) * 0.9), down ? at + height : at];
  };
  return {
    width: Math.round(right - left),
    height: y - gaps.y,
    places: new Map([...places].filter(([name]) => !isPoint(name))),
    arrows: chains.map(({ edge, chain }) => ({
      edge,
      points: chain.flatMap((name, n): Point[] => {
        if (n === 0) return [port(name, chain[1] ?? '', true)];
        if (n === chain.length - 1) return [port(name, chain[n - 1] ?? '', false)];
        const { x, y: at, height } = place(name);
        return [
          [x, at],
          [x, at + height],
        ];
      }),
    })),
  };
}

/** Straight along a row's height, curved between rows. */
function pathOf(points: readonly Point[]): string {
  let path = `M${points[0]?.join(' ')}`;
  for (let n = 1; n < points.length; n++) {
    const [[ax, ay], [bx, by]] = [points[n - 1] ?? [0, 0], points[n] ?? [0, 0]];
    const half = Math.round((ay + by) / 2);
    path += ax === bx ? `V${by}` : `C${ax} ${half} ${bx} ${half} ${bx} ${by}`;
  }
  return path;
}

/** Classes instead of counts, so that the picture changes with the architecture and not with every import. */
const weightOf = (imports: number): number => [4, 12, 30].filter((from) => imports >= from).length;
const THICKNESS = [0.8, 1.6, 2.6, 4];

/** Arrows of one importer have one colour, which is told from its neighbours' in light and in dark. */
const COLOURS = ['#3b7dd8', '#d9822b', '#2f9e62', '#a855c7', '#d1495b', '#1f9aa8', '#9a7b1f', '#7a7f8c'];

function svgOf({ places, arrows }: Drawing, dx: number, dy: number): string {
  const importers = [...places.keys()];
  const colour = (name: string): string => COLOURS[importers.indexOf(name) % COLOURS.length] ?? '';
  const lines = arrows
    .map(({ edge, points }) => {
      const weight = weightOf(edge.imports);
      return `<path d="${pathOf(points)}" stroke="${colour(edge.from)}" stroke-width="${THICKNESS[weight]}" marker-end="url(#a)"><title>${edge.from} imports ${edge.to}</title></path>`;
    })
    .join('\n');
  const boxes = [...places]
    .map(
      ([name, { x, y, width, height }]) =>
        `<rect x="${Math.round(x - width / 2)}" y="${y}" width="${width}" height="${height}" stroke="${colour(name)}"/>` +
        `<text x="${x}" y="${y + 20}">${name}</text>`,
    )
    .join('\n');
  return `<g transform="translate(${dx} ${dy})">\n${lines}\n${boxes}\n</g>`;
}

const folder = (name: string): string | undefined => /^src\/([^/]+)\//.exec(name)?.[1];
const engineFolder = (name: string): string | undefined => /^src\/engine\/([^/]+)\//.exec(name)?.[1];

/** The picture's text, the same for the same imports. */
export function modulesSvg(root: string): string {
  const all = edgesOf(root, folder);
  // Everything imports the base: a bar below says so, and its arrows would only cover the others.
  const users = all.filter(({ to }) => to === 'base').length;
  const inner = draw(edgesOf(root, engineFolder), () => [84, 30], { x: 22, y: 34 });
  const engine = [inner.width + 44, inner.height + 52] as const;
  const outer = draw(
    all.filter(({ to }) => to !== 'base'),
    (name) => (name === 'engine' ? engine : [104, 32]),
    { x: 30, y: 62 },
  );
  const margin = 16;
  const at = outer.places.get('engine');
  if (!at) throw new Error('there is no src/engine');
  const width = outer.width + 2 * margin;
  const bar = margin + outer.height + 28;
  const note = bar + 58;
  const legend = THICKNESS.map(
    (thick, n) =>
      `<path d="M${margin + 4 + n * 100} ${note - 4}h28" stroke="#888" stroke-width="${thick}"/><text class="s" x="${margin + 38 + n * 100}" y="${note}">${['1 to 3', '4 to 11', '12 to 29', '30 or more'][n]}</text>`,
  ).join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${note + 14}" font-family="system-ui, sans-serif" font-size="14"><title>Who imports whom in src</title>
<!-- Made by tools/architecture.mjs from the imports in src. -->
<style>svg{color-scheme:light dark}.p{fill:#fff}rect{fill:#f6f8fb;stroke-width:1.5;rx:6}text{fill:#1a1a1a;text-anchor:middle}.s{font-size:12px;fill:#555;text-anchor:start}path{fill:none;stroke-opacity:.8}#a path{fill:context-stroke;stroke:none}
@media(prefers-color-scheme:dark){.p{fill:#0d1117}rect{fill:#1c2330}text{fill:#e6e6e6}.s{fill:#aab}}</style>
<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
<rect class="p" x="0" y="0" width="${width}" height="${note + 14}"/>
${svgOf(outer, margin, margin)}
${svgOf(inner, margin + Math.round(at.x - inner.width / 2), margin + at.y + 38)}
<rect x="${margin}" y="${bar}" width="${outer.width}" height="32" stroke="#7a7f8c"/><text x="${width / 2}" y="${bar + 21}">base: imported by ${users} of these ${outer.places.size} folders, imports none</text>
${legend}<text class="s" x="${margin + 430}" y="${note}">import statements; an arrow has its importer's colour</text>
</svg>
`;
}
