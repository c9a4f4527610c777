import { EXPORT_COLUMNS, type ExportRow, TEXT_GROUPS } from "./export-row.js";
import { inGroups } from "./in-groups.js";

/** What a spreadsheet takes for the start of a formula, also in its full-width forms, behind any number of apostrophes. */
const FORMULA = /^'*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;

/**
 * RFC 4180 with a header, UTF-8; texts that a spreadsheet would run as a formula get an apostrophe before them. So do those that have one there already, so
 * that the way back is certain.
 */
export async function* toCsv(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const { stringify } = await import("csv-stringify/sync");
  const encoder = new TextEncoder();
  const columns = [...EXPORT_COLUMNS];
  yield encoder.encode(`${columns.join(",")}\r\n`);
  // An empty text is quoted, an absent one is not; so is every line break, for readers take a lone one for the end of a record too.
  const options = { columns, record_delimiter: "\r\n", quoted_match: /^$|[\r\n]/, cast: { string: escapeFormula } };
  for await (const group of inGroups(rows, TEXT_GROUPS)) yield encoder.encode(stringify(group, options));
}

/**
 * A cell that no spreadsheet runs.
 * @example
 * ```ts
 * escapeFormula("=1+1"); // "'=1+1"
 * ```
 */
export function escapeFormula(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text;
}

/**
 * The text that `escapeFormula` was given.
 * @example
 * ```ts
 * unescapeFormula("'=1+1"); // "=1+1"
 * ```
 */
export function unescapeFormula(cell: string): string {
  return cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell;
}
