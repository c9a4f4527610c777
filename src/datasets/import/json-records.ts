import { splitLines } from "../../support/line-splitter.js";
import type { SourceRecord } from "./record.js";
import { parseStrictJson } from "./strict-json.js";

const [QUOTE, BACKSLASH, NEWLINE, COMMA, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [...'"\\\n,[]{}'].map((character) =>
  character.charCodeAt(0),
) as [number, number, number, number, number, number, number, number];
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;

/** Reads JSON lines, or the elements of one JSON array, whichever the file is; neither is ever in memory whole. */
export async function* readJsonRecords(source: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<SourceRecord> {
  const { first, chunks } = await peek(source);
  const texts = first === OPEN_ARRAY ? arrayElements(chunks, maxRowBytes) : jsonLines(chunks, maxRowBytes);
  let row = 0;
  for await (const text of texts) {
    row += 1;
    const place = { row, line: text.line };
    if ("text" in text) yield { ...place, ...asRecord(parseStrictJson(text.text)) };
    else yield { ...place, ...problemOf(text.code, maxRowBytes) };
  }
}

type RecordText = { line: number } & ({ text: string } | { code: "invalid_utf8" | "line_too_long" | "invalid_json" });

/** Most often a file whose objects go over several lines. */
function asRecord(parsed: ReturnType<typeof parseStrictJson>): ReturnType<typeof parseStrictJson> {
  if (!("code" in parsed) || parsed.code !== "invalid_json") return parsed;
  return { code: parsed.code, message: "it is not JSON; give one object a line, or one array of objects" };
}

function problemOf(code: "invalid_utf8" | "line_too_long" | "invalid_json", maxRowBytes: number) {
  const message = {
    invalid_utf8: "it is not valid UTF-8",
    line_too_long: `it has more than ${maxRowBytes} bytes`,
    invalid_json: "the array ends too early, or goes on after its end",
  }[code];
  return { code, message };
}

async function* jsonLines(chunks: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<RecordText> {
  for await (const line of splitLines(chunks, maxRowBytes)) {
    if ("code" in line) yield { line: line.number, code: line.code };
    else if (line.text.trim() !== "") yield { line: line.number, text: line.text };
  }
}

/** The first byte that is neither white space nor a byte order mark, and the source from its beginning. */
async function peek(source: AsyncIterable<Uint8Array>): Promise<{ first: number | undefined; chunks: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let first: number | undefined;
  while (first === undefined) {
    const result = await iterator.next();
    if (result.done) break;
    seen.push(Uint8Array.from(result.value));
    first = result.value.find((byte) => !isSpace(byte) && !BYTE_ORDER_MARK.includes(byte));
  }
  async function* replayed(): AsyncGenerator<Uint8Array> {
    try {
      yield* seen.splice(0);
      for (let result = await iterator.next(); !result.done; result = await iterator.next()) yield result.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { first, chunks: replayed() };
}

/** Cuts an array into the bytes of its elements by brackets and strings alone, so that a broken element costs that element only. */
async function* arrayElements(chunks: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<RecordText> {
  let [depth, line, startLine, size] = [0, 1, 1, 0];
  let [isInString, isEscaped, isInElement, isClosed, isTrailing] = [false, false, false, false, false];
  let pieces: Uint8Array[] = [];
  const finish = (): RecordText => {
    const text = size > maxRowBytes ? ({ line: startLine, code: "line_too_long" } as const) : decode(pieces, startLine);
    [pieces, size, isInElement] = [[], 0, false];
    return text;
  };
  for await (const chunk of chunks) {
    let start = 0;
    const keep = (end: number): void => {
      size += end - start;
      if (size > maxRowBytes) pieces = [];
      else if (end > start) pieces.push(chunk.slice(start, end));
      start = end;
    };
    for (let index = 0; index < chunk.length; index += 1) {
      const byte = chunk[index]!;
      if (byte === NEWLINE) line += 1;
      if (isInString) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) isInString = false;
        continue;
      }
      if (depth === 0) {
        if (byte === OPEN_ARRAY && !isClosed) depth = 1;
        else if (isClosed && !isSpace(byte)) isTrailing = true;
        continue;
      }
      if (depth === 1 && (byte === COMMA || byte === CLOSE_ARRAY)) {
        if (isInElement) {
          keep(index);
          yield finish();
        }
        if (byte === CLOSE_ARRAY) [depth, isClosed] = [0, true];
        continue;
      }
      if (!isInElement) {
        if (isSpace(byte)) continue;
        [isInElement, startLine, start] = [true, line, index];
      }
      if (byte === QUOTE) isInString = true;
      else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth += 1;
      else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth -= 1;
    }
    if (isInElement) keep(chunk.length);
  }
  if (isInElement || !isClosed || isTrailing) yield { line: isInElement ? startLine : line, code: "invalid_json" };
}

function decode(pieces: readonly Uint8Array[], line: number): RecordText {
  try {
    return { line, text: new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces)) };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { line, code: "invalid_utf8" };
  }
}
