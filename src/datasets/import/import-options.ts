import { z } from "zod";
import { ValidationError } from "../../errors.js";
import type { CallOptions, Dataset } from "../../types/index.js";
import type { PrepareOptions } from "../preparation.js";
import type { ImportProblemCode } from "./record.js";

/** What a file may be; see the readers of `src/datasets/import` for the shapes. */
export const ImportFormat = z.enum(["jsonl", "csv", "parquet", "openai", "sharegpt", "alpaca", "langfuse", "tensorzero", "veritas"]);
export type ImportFormat = z.infer<typeof ImportFormat>;

/** Bytes of the longest record that is read. */
export const DEFAULT_MAX_ROW_BYTES = 4 * 1024 * 1024;

const Checked = z.strictObject({
  format: ImportFormat,
  name: z.unknown().optional(),
  description: z.unknown().optional(),
  domain: z.unknown().optional(),
  prepare: z.unknown().optional(),
  onProgress: z.unknown().optional(),
  signal: z.unknown().optional(),
  maxRowBytes: z
    .number()
    .int()
    .min(1024)
    .max(256 * 1024 * 1024)
    .default(DEFAULT_MAX_ROW_BYTES),
});

/** Options of `import`. */
export interface ImportDatasetOptions extends CallOptions {
  format: ImportFormat;
  /** 3..100 characters; a name that is there already gets its next version. */
  name: string;
  description?: string;
  /** Of samples that name none. Default `general`. */
  domain?: string;
  /**
   * How samples without a split are prepared, at most 2,000,000: on disk, with some 300 bytes of memory a sample. `false` takes any number as they stand: scored, but
   * neither filtered, deduplicated nor split, thumbs as `preference` and the rest as `train`. Rows that come with their split (an export) are taken as they
   * stand unless options are given. Default: the defaults of `prepareTrainingData`.
   */
  prepare?: PrepareOptions | false;
  /** Bytes of the longest record; longer ones are rejected. 1,024 … 268,435,456, default 4,194,304. */
  maxRowBytes?: number;
  /** Called after every 1,000 records and at the end. */
  onProgress?: (progress: ImportDatasetProgress) => void;
}

/** Counts of an import so far. */
export interface ImportDatasetProgress {
  /** Records of the file, and of pages in it. */
  rows: number;
  /** Samples or prepared rows made of them. */
  accepted: number;
  /** Records, or answers of them, that could not be used. */
  rejected: number;
  /** Of the source. */
  bytes: number;
}

/** What `import` made. */
export interface ImportDatasetResult extends ImportDatasetProgress {
  dataset: Dataset;
  /** The first 50 of what was rejected; `row`, `line` and, in a page of an API, `entry` count from 1. */
  errors: { row: number; line?: number; entry?: number; code: ImportProblemCode; message: string }[];
}

/** Checks the options that are the import's own. @throws ValidationError `input_invalid` */
export function parseImportOptions(options: ImportDatasetOptions): { format: ImportFormat; maxRowBytes: number } {
  const parsed = Checked.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  const message =
    field === "format"
      ? `The import format ${JSON.stringify(options?.format)} is unknown. Use one of ${ImportFormat.options.join(", ")}.`
      : `The import options are invalid${field === "" ? "" : ` at ${field}`}: ${issue?.message}.`;
  throw new ValidationError("input_invalid", message, { details: { field } });
}
