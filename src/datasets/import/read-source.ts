import { readAlpaca } from "./alpaca.js";
import type { ByteSource } from "./byte-source.js";
import { readClaraRow } from "./clara-row.js";
import { readCsvRecords } from "./csv-records.js";
import type { ImportFormat } from "./import-options.js";
import { readJsonRecords } from "./json-records.js";
import { readLangfuse } from "./langfuse.js";
import { readOpenAi } from "./openai.js";
import { readParquetInThread } from "./parquet-thread.js";
import type { Reading, RecordReader } from "./reading.js";
import type { Place, SourceRecord } from "./record.js";
import { readShareGpt } from "./sharegpt.js";
import { Spool } from "./spool.js";
import { readTensorZero } from "./tensorzero.js";
import { readVeritas } from "./veritas.js";

const READERS: Readonly<Record<ImportFormat, RecordReader>> = {
  jsonl: readClaraRow,
  csv: readClaraRow,
  parquet: readClaraRow,
  openai: readOpenAi,
  sharegpt: readShareGpt,
  alpaca: readAlpaca,
  langfuse: readLangfuse,
  tensorzero: readTensorZero,
  veritas: readVeritas,
};

/** How a source is read. */
export interface ReadSettings {
  format: ImportFormat;
  maxRowBytes: number;
  /** Milliseconds for a thousand records of Parquet, or the row group that they are in. Default 60,000. */
  timeoutMs?: number;
}

/** Reads a source record by record. @throws ValidationError `input_invalid` where the source as a whole is not what it should be */
export async function* readSource(
  source: ByteSource,
  { format, maxRowBytes, timeoutMs }: ReadSettings,
): AsyncGenerator<Place & { readings: Reading[] }> {
  for await (const record of recordsOf(source, { format, maxRowBytes, timeoutMs })) {
    const place = { row: record.row, ...(record.line === undefined ? {} : { line: record.line }) };
    if ("value" in record) yield { ...place, readings: READERS[format](record.value) };
    else yield { ...place, readings: [{ problem: { code: record.code, message: record.message } }] };
  }
}

function recordsOf(source: ByteSource, { format, maxRowBytes, timeoutMs }: ReadSettings): AsyncGenerator<SourceRecord> {
  if (format === "csv") return readCsvRecords(source, maxRowBytes);
  if (format === "parquet") return spooledParquet(source, timeoutMs);
  return readJsonRecords(source, maxRowBytes);
}

/** Parquet is read from its end, so a stream has to be kept first. */
async function* spooledParquet(source: ByteSource, timeoutMs: number | undefined): AsyncGenerator<SourceRecord> {
  const spool = await Spool.open();
  try {
    for await (const bytes of source) await spool.write(bytes);
    await spool.flush();
    yield* readParquetInThread(spool.file.fd, timeoutMs);
  } finally {
    await spool.close();
  }
}
