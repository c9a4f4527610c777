import { createReadStream } from "node:fs";
import { basename, extname } from "node:path";
import { AbortedError, ValidationError } from "../../errors.js";
import type { CallOptions, DocumentContentType, DocumentInput } from "../../types/index.js";
import { MAX_DOCUMENT_LENGTH, UnreadableDocument } from "../document-input.js";

/** What `readDocuments` reads: one document, or one a line. */
export type DocumentFormat = DocumentContentType | "application/jsonl";

/** Bytes or text, piece by piece: a file's, a response's body. */
export type DocumentSource = string | AsyncIterable<Uint8Array | string>;

/** Options of `readDocuments`. */
export interface ReadDocumentsOptions extends CallOptions {
  /** Default: by the extension of the file: .jsonl, .ndjson, .md, .markdown, .html, .htm, .txt. */
  contentType?: DocumentFormat;
  /** Of a stream that comes from a file; becomes the documents' `source`. */
  fileName?: string;
  /** What each document has that does not say otherwise itself. */
  defaults?: Omit<Partial<DocumentInput>, "content">;
}

const FORMATS: Readonly<Record<string, DocumentFormat>> = {
  ".jsonl": "application/jsonl",
  ".ndjson": "application/jsonl",
  ".md": "text/markdown",
  ".markdown": "text/markdown",
  ".html": "text/html",
  ".htm": "text/html",
  ".txt": "text/plain",
};
/** JSON may write a character as six, and has other fields. */
const MAX_LINE_LENGTH = 6 * MAX_DOCUMENT_LENGTH + 1_000_000;

/**
 * Documents of a file (by its path) or a stream, read as they are asked for. JSON lines hold a document each, shaped as `DocumentInput`; a line that does not is refused by `addDocuments` with its number.
 * The same file again after a crash adds what is missing.
 * @throws ValidationError `input_invalid` for an unknown format, or a file that cannot be read
 * @example
 * ```ts
 * await clara.datasets.addDocuments(readDocuments("laws.jsonl", { defaults: { domain: "recht" } }), { onProgress: ({ added }) => console.log(added) });
 * ```
 */
export async function* readDocuments(source: DocumentSource, options: ReadDocumentsOptions = {}): AsyncGenerator<DocumentInput> {
  refuseUnknown(options);
  const fileName = options.fileName ?? (typeof source === "string" ? basename(source) : undefined);
  const format = options.contentType ?? FORMATS[extname(fileName ?? "").toLowerCase()];
  if (format === undefined || !Object.values(FORMATS).includes(format)) {
    const known = [...new Set(Object.values(FORMATS))].join(", ");
    throw new ValidationError(
      "input_invalid",
      `The format of ${fileName ?? "the stream"} is not known: give contentType, one of ${known}.`,
      {
        details: { field: "contentType" },
      },
    );
  }
  const defaults = { ...(fileName === undefined ? {} : { source: fileName.slice(0, 256) }), ...options.defaults };
  const text = decoded(typeof source === "string" ? readFile(source) : source, options.signal);
  if (format !== "application/jsonl") {
    yield { ...defaults, content: await collect(text), contentType: format };
    return;
  }
  let number = 0;
  for await (const line of linesOf(text)) {
    number += 1;
    if (line !== null && line.trim() === "") continue;
    yield readLine(line, number, defaults) as DocumentInput;
  }
}

/** A misspelt `defaults` would show the documents of a tenant to everybody. */
function refuseUnknown(options: ReadDocumentsOptions): void {
  const known: readonly string[] = ["contentType", "fileName", "defaults", "signal"] satisfies (keyof ReadDocumentsOptions)[];
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const message = `readDocuments has no option ${unknown.map((name) => JSON.stringify(name)).join(", ")}. There are: ${known.join(", ")}.`;
  throw new ValidationError("input_invalid", message, { details: { unknown } });
}

function readLine(line: string | null, number: number, defaults: object): object {
  if (line === null) return new UnreadableDocument(`too_large: line ${number} has more than ${MAX_LINE_LENGTH} characters`);
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...defaults, ...value };
  } catch {
    // Said below: the parser's own words would quote the text.
  }
  return new UnreadableDocument(`invalid: line ${number} is not a JSON object`);
}

async function* readFile(path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of createReadStream(path)) yield piece as Uint8Array;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw new ValidationError("input_invalid", `The file ${path} cannot be read (${code}).`, {
      cause: error,
      details: { field: "source" },
    });
  }
}

async function* decoded(source: AsyncIterable<Uint8Array | string>, signal: AbortSignal | undefined): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const piece of source) {
    if (signal?.aborted) throw new AbortedError();
    yield typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
  }
  yield decoder.decode();
}

/** Reads no further than one document may be long: what is longer is refused anyway. */
async function collect(text: AsyncIterable<string>): Promise<string> {
  let content = "";
  for await (const piece of text) {
    content += piece;
    if (content.length > MAX_DOCUMENT_LENGTH) break;
  }
  return content;
}

/** Null for a line that is too long to be held. */
async function* linesOf(text: AsyncIterable<string>): AsyncGenerator<string | null> {
  let rest = "";
  let isTooLong = false;
  for await (const piece of text) {
    const lines = piece.split("\n");
    for (const [index, line] of lines.entries()) {
      if (index > 0) {
        yield isTooLong ? null : rest;
        rest = "";
        isTooLong = false;
      }
      if (!isTooLong) rest += line;
      if (rest.length > MAX_LINE_LENGTH) {
        isTooLong = true;
        rest = "";
      }
    }
  }
  if (isTooLong || rest !== "") yield isTooLong ? null : rest;
}
