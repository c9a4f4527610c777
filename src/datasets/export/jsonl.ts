import { type ExportRow, TEXT_GROUPS } from "./export-row.js";
import { inGroups } from "./in-groups.js";

/** JSON lines, UTF-8: one object a row, each line ended by a line feed. */
export async function* toJsonl(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const group of inGroups(rows, TEXT_GROUPS)) yield encoder.encode(group.map((row) => `${JSON.stringify(row)}\n`).join(""));
}
