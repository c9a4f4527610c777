/** Where a record stands in its file; both count from 1. Parquet has rows only. */
export interface Place {
  row: number;
  line?: number;
}

/**
 * Why a record, or one answer of it, did not become a sample.
 * - `invalid_utf8`, `line_too_long`, `invalid_json`, `invalid_csv`, `wrong_column_count`: it cannot be read.
 * - `json_too_deep`, `duplicate_key`, `forbidden_key`: it is JSON that nobody writes by accident.
 * - `row_group_too_large`, `row_group_invalid`: a part of a Parquet file cannot be read; `row` is its first row.
 * - `shape_unknown`: it is not of the format that was named.
 * - `row_invalid`: a field has a wrong value.
 * - `text_invalid`: a text has U+0000 or half a surrogate pair, which no database can hold.
 * - `split_missing`: other rows of the file come with their split, this one does not.
 * - `no_answer`, `no_signal`, `no_text`: there is nothing to learn in it.
 */
export type ImportProblemCode =
  | "invalid_utf8"
  | "line_too_long"
  | "invalid_json"
  | "invalid_csv"
  | "wrong_column_count"
  | "json_too_deep"
  | "duplicate_key"
  | "forbidden_key"
  | "row_group_too_large"
  | "row_group_invalid"
  | "shape_unknown"
  | "row_invalid"
  | "text_invalid"
  | "split_missing"
  | "no_answer"
  | "no_signal"
  | "no_text";

/** What is wrong with a record. */
export interface Problem {
  code: ImportProblemCode;
  message: string;
}

/** One record of a file as it was read, or why it could not be. */
export type SourceRecord = Place & ({ value: unknown } | Problem);

/** A plain object with its own fields only, or null. */
export function asObject(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
}

/** A text, or undefined for anything else, an empty one included. */
export function asText(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}
