import type { SchemaElement } from "hyparquet";
import { EXPORT_COLUMNS, type ExportRow } from "./export-row.js";
import { inGroups } from "./in-groups.js";

/** Rows, and characters of their texts, of one row group: bounds memory, and lets readers skip. */
const ROW_GROUPS = { rows: 5000, size: 16 * 1024 * 1024, sizeOf: (row: ExportRow) => row.prompt.length + row.response.length };
const NUMBERS: ReadonlySet<string> = new Set(["rating", "importance", "qualityScore"]);
const OPTIONAL: ReadonlySet<string> = new Set(["feedbackId", "subjectId"]);

/**
 * Apache Parquet, SNAPPY: texts as strings, numbers as doubles, and the conversation once more as `messages`, a list of structs of role and content, which is
 * what trainers read.
 */
export async function* toParquet(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [{ name: "root", num_children: EXPORT_COLUMNS.length + 1 }, ...EXPORT_COLUMNS.map(toSchemaElement), ...MESSAGES],
    createdBy: "clara-sdk",
  });
  // The writer counts file offsets apart from its buffer, so what is written may be taken out.
  const take = (): Uint8Array => {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    return bytes;
  };
  for await (const group of inGroups(rows, ROW_GROUPS)) {
    await parquet.write({
      columnData: [
        ...EXPORT_COLUMNS.map((name) => ({ name, data: group.map((row) => row[name] ?? null) })),
        { name: "messages", data: group.map(messagesOf) },
      ],
      rowGroupSize: group.length,
    });
    yield take();
  }
  await parquet.finish();
  yield take();
}

const text = (name: string): SchemaElement => ({ name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" });

/** Parquet's own three levels of a list: its field, the repetition, the element. */
const MESSAGES: SchemaElement[] = [
  { name: "messages", converted_type: "LIST", repetition_type: "REQUIRED", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "REQUIRED", num_children: 2 },
  text("role"),
  text("content"),
];

function messagesOf({ prompt, response }: ExportRow): { role: string; content: string }[] {
  return [
    { role: "user", content: prompt },
    { role: "assistant", content: response },
  ];
}

function toSchemaElement(name: (typeof EXPORT_COLUMNS)[number]): SchemaElement {
  const repetition_type = OPTIONAL.has(name) ? "OPTIONAL" : "REQUIRED";
  return NUMBERS.has(name) ? { name, type: "DOUBLE", repetition_type } : { ...text(name), repetition_type };
}
