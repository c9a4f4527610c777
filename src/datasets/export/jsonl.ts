import type { ExportRow } from "./export-row.js";

/** JSON lines, UTF-8: one object a row, each line ended by a line feed. */
export async function* toJsonl(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const row of rows) yield encoder.encode(`${JSON.stringify(row)}\n`);
}
