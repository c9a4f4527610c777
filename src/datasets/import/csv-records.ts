import { ValidationError } from "../../errors.js";
import { unescapeFormula } from "../export/csv.js";
import { inGroups } from "../export/in-groups.js";
import { type CsvLine, splitCsvLines } from "./csv-lines.js";
import type { Problem, SourceRecord } from "./record.js";

/** Records that go to the parser at once: a call costs more than a record. */
const GROUPS = { rows: 200, size: 1024 * 1024, sizeOf: (line: CsvLine) => line.bytes?.length ?? 0 };

type Cells = (string | null)[];
type Parse = (text: string, delimiter: string) => Cells[];

/**
 * Reads CSV with a header (RFC 4180; `,`, `;` or tab) into objects. An empty cell is absent, a quoted empty one is an empty text; the apostrophe that an
 * export puts before a formula is taken off.
 */
export async function* readCsvRecords(source: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<SourceRecord> {
  const { parse } = await import("csv-parse/sync");
  const parseText: Parse = (text, delimiter) =>
    parse(text, {
      delimiter,
      relax_column_count: true,
      record_delimiter: ["\r\n", "\n"],
      cast: (cell, { quoting }) => (cell === "" && !quoting ? null : unescapeFormula(cell)),
    }) as unknown as Cells[];
  let header: string[] | null = null;
  let row = 0;
  for await (const group of inGroups(splitCsvLines(source, maxRowBytes), GROUPS)) {
    for (const { line, cells } of cellsOf(group, parseText)) {
      if (header === null) {
        if (!Array.isArray(cells)) throw new ValidationError("input_invalid", `The CSV header cannot be read: ${cells.message}.`);
        header = cells.map((cell) => cell ?? "");
        const twice = header.find((name, index) => header?.indexOf(name) !== index);
        if (twice !== undefined)
          throw new ValidationError(
            "input_invalid",
            `The CSV header names ${JSON.stringify(twice)} twice. Rename or remove one of the columns.`,
          );
        continue;
      }
      row += 1;
      if (!Array.isArray(cells)) yield { row, line, ...cells };
      else if (cells.length !== header.length) {
        yield { row, line, code: "wrong_column_count", message: `it has ${cells.length} cells, the header has ${header.length}` };
      } else yield { row, line, value: Object.fromEntries(cells.map((cell, index) => [header?.[index] ?? "", cell])) };
    }
  }
}

/** The cells of each record of a group; a broken record costs itself only. */
function* cellsOf(group: readonly CsvLine[], parse: Parse): Generator<{ line: number; cells: Cells | Problem }> {
  const texts = group.map(({ bytes }) => (bytes === null ? TOO_LONG : (decode(bytes) ?? INVALID_UTF8)));
  const readable = texts.filter((text) => typeof text === "string" && text !== "") as string[];
  const delimiter = group[0]?.delimiter ?? ",";
  const together = parseAll(readable, (text) => parse(text, delimiter));
  let index = 0;
  for (const [place, text] of texts.entries()) {
    if (text === "") continue;
    const { line } = group[place]!;
    if (typeof text !== "string") yield { line, cells: text };
    else yield { line, cells: together?.[index++] ?? parseOne(text, (one) => parse(one, delimiter)) };
  }
}

const TOO_LONG: Problem = { code: "line_too_long", message: "it has more bytes than maxRowBytes" };
const INVALID_UTF8: Problem = { code: "invalid_utf8", message: "it is not valid UTF-8" };

/** Null where one of them is broken. */
function parseAll(texts: readonly string[], parse: (text: string) => Cells[]): Cells[] | null {
  try {
    const records = parse(texts.join("\n"));
    return records.length === texts.length ? records : null;
  } catch (error) {
    if (!isCsvError(error)) throw error;
    return null;
  }
}

function parseOne(text: string, parse: (text: string) => Cells[]): Cells | Problem {
  try {
    return parse(text)[0] ?? [];
  } catch (error) {
    if (!isCsvError(error)) throw error;
    return { code: "invalid_csv", message: "its quotes do not match" };
  }
}

function isCsvError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && (code.startsWith("CSV_") || code === "INVALID_OPENING_QUOTE");
}

/** Undefined where it is not UTF-8. */
function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return undefined;
  }
}
