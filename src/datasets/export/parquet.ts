import { EXPORT_COLUMNS, type ExportRow } from "./export-row.js";

/** Rows of one row group: bounds memory, and lets readers skip. */
const ROWS_PER_GROUP = 5000;
const NUMBERS: ReadonlySet<string> = new Set(["rating", "importance", "qualityScore"]);
const OPTIONAL: ReadonlySet<string> = new Set(["feedbackId", "subjectId"]);

/** Apache Parquet, SNAPPY: texts as strings, numbers as doubles. */
export async function* toParquet(rows: AsyncIterable<ExportRow>): AsyncIterable<Uint8Array> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [{ name: "root", num_children: EXPORT_COLUMNS.length }, ...EXPORT_COLUMNS.map(toSchemaElement)],
    createdBy: "clara-sdk",
  });
  // The writer counts file offsets apart from its buffer, so what is written may be taken out.
  const take = (): Uint8Array => {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    return bytes;
  };
  let group: ExportRow[] = [];
  const writeGroup = async (): Promise<Uint8Array> => {
    await parquet.write({
      columnData: EXPORT_COLUMNS.map((name) => ({ name, data: group.map((row) => row[name] ?? null) })),
      rowGroupSize: ROWS_PER_GROUP,
    });
    group = [];
    return take();
  };
  for await (const row of rows) {
    group.push(row);
    if (group.length === ROWS_PER_GROUP) yield await writeGroup();
  }
  if (group.length > 0) yield await writeGroup();
  await parquet.finish();
  yield take();
}

function toSchemaElement(name: (typeof EXPORT_COLUMNS)[number]) {
  const repetition_type = OPTIONAL.has(name) ? ("OPTIONAL" as const) : ("REQUIRED" as const);
  return NUMBERS.has(name)
    ? { name, type: "DOUBLE" as const, repetition_type }
    : { name, type: "BYTE_ARRAY" as const, converted_type: "UTF8" as const, repetition_type };
}
