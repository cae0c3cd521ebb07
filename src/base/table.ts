/** Tables as values, and as text for a terminal, as Markdown and as CSV; as HTML: `src/report/chart.ts`. */

/** A number as it is, or what is shown for it; null is not defined. */
export type Cell = string | number | null;

export interface Column {
  readonly name: string;
  /** People see it behind the name. */
  readonly unit?: string | undefined;
  /** The first column's is left, the others' right, unless given. */
  readonly align?: 'left' | 'right';
  /** How people see its numbers. */
  readonly show?: (value: number) => string;
  /** Left out where no row has it. */
  readonly optional?: true;
}

/** A column that its name describes, or all of it; and what stands there. */
export type Item = readonly [column: Column | string, cell: Cell];
/** All rows of a table have the same columns. */
export type Row = readonly Item[];

export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

export function tableOf<T>(items: readonly T[], rowOf: (item: T, n: number) => Row): Table {
  const rows = items.map(rowOf);
  const columns = (rows[0] ?? []).map(
    ([column]): Column => (typeof column === 'string' ? { name: column } : column),
  );
  const kept = (_: unknown, n: number): boolean =>
    !columns[n]?.optional || rows.some((row) => row[n]?.[1] !== null);
  return { columns: columns.filter(kept), rows: rows.map((row) => row.filter(kept).map(([, cell]) => cell)) };
}

/** A cell for each of several. */
export const each = <T>(items: readonly T[], itemOf: (item: T, n: number) => Item): Row => items.map(itemOf);

/** A column of numbers with so many digits after the point. */
export const fixed = (name: string, digits: number, unit?: string): Column => ({
  name,
  unit,
  show: (value) => value.toFixed(digits),
});

/** A column of texts. */
export const left = (name: string): Column => ({ name, align: 'left' });

export const optional = (column: Column | string): Column => ({
  ...(typeof column === 'string' ? { name: column } : column),
  optional: true,
});

/** What people see: the columns' names, then the rows. */
export function shownCells({ columns, rows }: Table): string[][] {
  const shown = (cell: Cell | undefined, { show = String }: Column): string =>
    typeof cell === 'number' ? show(cell) : (cell ?? '–');
  return [
    columns.map(({ name, unit }) => (unit === undefined ? name : `${name}, ${unit}`)),
    ...rows.map((row) => columns.map((column, n) => shown(row[n], column))),
  ];
}

/** Lines for a terminal, without a line feed at the end. */
export function tableText(table: Table): string {
  const cells = shownCells(table);
  const width = (n: number): number => Math.max(...cells.map((row) => row[n]?.length ?? 0));
  const pads = table.columns.map(({ align = 'right' }, n) => ({
    left: n === 0 || align === 'left',
    width: width(n),
  }));
  const line = (row: readonly string[]): string =>
    pads.map(({ left, width }, n) => (left ? row[n]?.padEnd(width) : row[n]?.padStart(width))).join('  ');
  return cells.map((row) => line(row).trimEnd()).join('\n');
}

/** A Markdown table, without a line feed at the end. */
export function tableMarkdown(table: Table): string {
  const [names, ...rows] = shownCells(table).map((row) => `| ${row.join(' | ')} |`);
  return [names, `| ${table.columns.map(() => '---').join(' | ')} |`, ...rows].join('\n');
}

/**
 * A cell by RFC 4180; empty for what is not defined. A text that a spreadsheet would take for a formula begins with an
 * apostrophe (OWASP's CSV injection), unless it is a plain number.
 */
function csvCell(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  const formula = /^[=+\-@\t\r\n＝＋－＠]/.test(cell) && !/^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(cell);
  const inert = formula ? `'${cell}` : cell;
  // In quotes too what separates cells elsewhere.
  return /[",;\t\n\r]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

/** All digits of all numbers under the columns' names; lines end with line feeds. Nothing for no rows. */
export const tableCsv = ({ columns, rows }: Table): string =>
  rows.length === 0
    ? ''
    : [columns.map(({ name }) => name), ...rows].map((row) => `${row.map(csvCell).join(',')}\n`).join('');
