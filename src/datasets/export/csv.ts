import { EXPORT_COLUMNS, type ExportRow } from "./export-row.js";

/** RFC 4180 with a header, UTF-8; cells that a spreadsheet would run as a formula get an apostrophe before them. */
export async function* toCsv(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const { stringify } = await import("csv-stringify/sync");
  const encoder = new TextEncoder();
  const columns = [...EXPORT_COLUMNS];
  yield encoder.encode(`${columns.join(",")}\r\n`);
  for await (const row of rows) yield encoder.encode(stringify([row], { columns, record_delimiter: "\r\n", escape_formulas: true }));
}
