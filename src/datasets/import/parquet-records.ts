import { fstatSync, readSync } from "node:fs";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { AsyncBuffer, Compressors, FileMetaData } from "hyparquet";
import { ValidationError } from "../../errors.js";
import { EXPORT_COLUMNS } from "../export/export-row.js";
import type { SourceRecord } from "./record.js";

/** Uncompressed bytes of one row group and of one page: they are decoded whole. */
const MAX_GROUP_BYTES = 512 * 1024 * 1024;
const MAX_PAGE_BYTES = 64 * 1024 * 1024;
const COLUMNS: ReadonlySet<string> = new Set([...EXPORT_COLUMNS, "messages"]);

/** A text that is not UTF-8; told apart from any text. */
class InvalidText {}

/** Reads the columns that an export has, and `messages`, row group by row group. @throws ValidationError `input_invalid` where it is not Parquet */
export async function* readParquetRecords(descriptor: number): AsyncGenerator<SourceRecord> {
  const { parquetMetadataAsync, parquetReadObjects, snappyUncompress } = await import("hyparquet");
  const compressors = compressorsWith(snappyUncompress);
  const buffer = new ParquetFile(descriptor);
  const metadata = await parquetMetadataAsync(buffer).catch((cause: unknown) => {
    throw new ValidationError("input_invalid", `The file is not Parquet, or its footer is damaged.`, {
      details: { field: "source" },
      cause,
    });
  });
  const columns = metadata.schema.slice(1).flatMap(({ name }) => (COLUMNS.has(name) ? [name] : []));
  const present = [...new Set(columns)].filter((name) => isTopLevel(metadata, name));
  let row = 1;
  for (const group of metadata.row_groups) {
    const [rowStart, rows] = [row - 1, Number(group.num_rows)];
    row += rows;
    const bytes = group.columns.reduce((sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0), 0);
    if (bytes > MAX_GROUP_BYTES) {
      const message = `a group of ${rows} rows has ${bytes} bytes; at most ${MAX_GROUP_BYTES} are read. Write smaller row groups`;
      yield { row: rowStart + 1, code: "row_group_too_large", message };
      continue;
    }
    let records: Record<string, unknown>[];
    try {
      records = await parquetReadObjects({
        file: buffer,
        metadata,
        columns: present,
        rowStart,
        rowEnd: rowStart + rows,
        compressors,
        parsers: { stringFromBytes: textOf },
      });
    } catch (error) {
      buffer.throwIfUnreadable();
      // The reader has no errors of its own kind: whatever it throws over these bytes is their fault.
      const message = `a group of ${rows} rows cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      yield { row: rowStart + 1, code: "row_group_invalid", message };
      continue;
    }
    for (const [index, record] of records.entries()) {
      const place = { row: rowStart + index + 1 };
      const isBroken = Object.values(record).some((value) => value instanceof InvalidText);
      yield isBroken ? { ...place, code: "invalid_utf8", message: "a text is not valid UTF-8" } : { ...place, value: plain(record) };
    }
  }
}

/** A file as the Parquet reader wants it. */
class ParquetFile implements AsyncBuffer {
  readonly byteLength: number;
  readonly #descriptor: number;
  #failure: unknown;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.byteLength = fstatSync(descriptor).size;
  }

  /**
   * Never throws: the reader asks for many places at once and awaits only some, so that a rejection would be nobody's. A damaged file asks for places that are
   * none; it gets nothing there.
   */
  slice(start: number, end = this.byteLength): ArrayBuffer {
    const length = Math.min(end, this.byteLength) - start;
    if (!(Number.isSafeInteger(start) && start >= 0 && length > 0)) return new ArrayBuffer(0);
    const bytes = new Uint8Array(length);
    try {
      return bytes.buffer.slice(0, readSync(this.#descriptor, bytes, 0, length, start));
    } catch (error) {
      this.#failure ??= error;
      return new ArrayBuffer(0);
    }
  }

  /** Throws what went wrong with the disk, which is not the fault of the bytes. */
  throwIfUnreadable(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function isTopLevel({ schema }: FileMetaData, name: string): boolean {
  let index = 1;
  for (let child = 0; child < (schema[0]?.num_children ?? 0); child += 1) {
    if (schema[index]?.name === name) return true;
    index = afterSubtree(schema, index);
  }
  return false;
}

function afterSubtree(schema: FileMetaData["schema"], index: number): number {
  let next = index + 1;
  for (let child = 0; child < (schema[index]?.num_children ?? 0) && next < schema.length; child += 1) next = afterSubtree(schema, next);
  return next;
}

/** Whole numbers come as BigInt. */
function plain(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]));
}

function textOf(bytes: Uint8Array): string | InvalidText {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return new InvalidText();
  }
}

type Decompress = (input: Uint8Array, outputLength: number) => Uint8Array;

/** A page says its own size; one that lies about it, or asks for too much, is refused before anything is allocated. */
function bounded(decompress: Decompress): Decompress {
  return (input, outputLength) => {
    if (outputLength > MAX_PAGE_BYTES) throw new Error(`a page of ${outputLength} bytes is larger than ${MAX_PAGE_BYTES}`);
    return decompress(input, outputLength);
  };
}

/** The codecs that Arrow and Spark write. */
function compressorsWith(snappy: (input: Uint8Array, output: Uint8Array) => void): Compressors {
  const unpack = (decompress: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array): Decompress =>
    bounded((input, outputLength) => decompress(input, { maxOutputLength: Math.max(1, outputLength) }));
  return {
    SNAPPY: bounded((input, outputLength) => {
      const output = new Uint8Array(outputLength);
      snappy(input, output);
      return output;
    }),
    GZIP: unpack(gunzipSync),
    BROTLI: unpack(brotliDecompressSync),
    ZSTD: unpack(zstdDecompressSync),
  };
}
