/** One line of a file, or why it could not be read. */
export type ImportedLine = { number: number; text: string } | { number: number; code: "invalid_utf8" | "line_too_long" };

/** Bytes of the longest line that is kept in memory. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;

const NEWLINE = 0x0a;

/**
 * Splits what is read into lines. Bytes are a stream, cut anywhere, also inside a character; every string is one or more whole lines (as
 * `readline` gives them). Each line is decoded by itself, so that broken UTF-8 costs one line only.
 */
export async function* splitLines(
  source: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
  maxLineBytes: number = MAX_LINE_BYTES,
): AsyncGenerator<ImportedLine> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  let number = 0;
  const finish = (): ImportedLine => {
    number++;
    const line = size > maxLineBytes ? { number, code: "line_too_long" as const } : decode(Buffer.concat(pieces), number);
    pieces = [];
    size = 0;
    return line;
  };
  const keep = (bytes: Uint8Array) => {
    size += bytes.length;
    if (size <= maxLineBytes) pieces.push(bytes);
    else pieces = [];
  };
  for await (const chunk of source) {
    if (typeof chunk === "string") {
      if (size > 0) yield finish();
      for (const text of chunk.replace(/\r?\n$/, "").split(/\r?\n/)) {
        number++;
        yield text.length > maxLineBytes
          ? { number, code: "line_too_long" }
          : { number, text: number === 1 ? text.replace(/^\ufeff/, "") : text };
      }
      continue;
    }
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE, start); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    // a copy, because readers reuse their chunks
    if (start < chunk.length) keep(Uint8Array.prototype.slice.call(chunk, start));
  }
  if (size > 0) yield finish();
}

function decode(bytes: Uint8Array, number: number): ImportedLine {
  try {
    // fatal: a replacement character would turn broken feedback into wrong feedback; a byte order mark is dropped
    return { number, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes).replace(/\r$/, "") };
  } catch {
    return { number, code: "invalid_utf8" };
  }
}
