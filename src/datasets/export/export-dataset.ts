import { ReadableStream } from "node:stream/web";
import { z } from "zod";
import { ValidationError } from "../../errors.js";
import { type CallOptions, type DatasetItem, SplitName } from "../../types/index.js";
import { toCsv } from "./csv.js";
import { type ExportRow, toExportRow } from "./export-row.js";
import { toJsonl } from "./jsonl.js";
import { toParquet } from "./parquet.js";
import { writeAtomically } from "./write-atomically.js";

const WRITERS = { jsonl: toJsonl, csv: toCsv, parquet: toParquet } as const satisfies Record<
  string,
  (rows: AsyncIterable<ExportRow>) => AsyncIterable<Uint8Array>
>;

/** Options of `export`. */
export const ExportOptions = z.strictObject({
  format: z.enum(["jsonl", "csv", "parquet"]),
  /** File to write, whole or not at all; without it a stream comes back. */
  path: z.string().min(1).optional(),
  /** Only this split; default all. */
  split: SplitName.optional(),
  /** Whether rows name the people behind them. Default false: a file leaves the reach of erasure. */
  includeSubjects: z.boolean().default(false),
});
export type ExportOptions = z.input<typeof ExportOptions>;

/** Checks the options of an export. @throws ValidationError `input_invalid`, naming the known formats. */
export function parseExportOptions(options: ExportOptions): z.output<typeof ExportOptions> {
  const parsed = ExportOptions.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  const message =
    field === "format"
      ? `The export format ${JSON.stringify(options?.format)} is unknown. Use one of ${Object.keys(WRITERS).join(", ")}.`
      : `The export options are invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}.`;
  throw new ValidationError("input_invalid", message, { details: { field } });
}

/** Writes rows to `path`, giving its absolute form, or gives them as a stream that reads the store only as fast as it is read. */
export function exportItems(
  items: AsyncIterable<DatasetItem>,
  options: z.output<typeof ExportOptions>,
  { signal }: CallOptions,
): Promise<string> | ReadableStream<Uint8Array> {
  const bytes = WRITERS[options.format](flat(items, options.includeSubjects));
  return options.path === undefined ? ReadableStream.from(bytes) : writeAtomically(options.path, bytes, signal);
}

async function* flat(items: AsyncIterable<DatasetItem>, includeSubjects: boolean): AsyncIterable<ExportRow> {
  for await (const item of items) yield toExportRow(item, includeSubjects);
}
