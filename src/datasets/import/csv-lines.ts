const [QUOTE, NEWLINE, RETURN] = [0x22, 0x0a, 0x0d];

/** What may stand between cells; the header says which one does. */
const DELIMITERS = [0x2c, 0x3b, 0x09] as const;

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

/** The bytes of one CSV record without its line end, or null where it was too long. */
export interface CsvLine {
  /** The one on which it begins, from 1. */
  line: number;
  bytes: Buffer | null;
  delimiter: string;
}

/**
 * Cuts a CSV file into records, which may hold line breaks between quotes. A record that outgrows the bound, as after a quote that is never closed, ends at
 * the next line break, so that the rest of the file is still read.
 */
export async function* splitCsvLines(source: AsyncIterable<Uint8Array>, maxRowBytes: number): AsyncGenerator<CsvLine> {
  let [line, startLine, size] = [1, 1, 0];
  let [isQuoted, isFieldStart, wasQuote] = [false, true, false];
  let pieces: Uint8Array[] = [];
  /** Bytes of the mark that the file begins with; negative where it has none, or once it is read. */
  let markLength = 0;
  let delimiter: number | undefined;
  const finish = (): CsvLine => {
    const whole = size > maxRowBytes ? null : withoutReturn(Buffer.concat(pieces));
    const bytes = markLength === BYTE_ORDER_MARK.length ? (whole?.subarray(markLength) ?? null) : whole;
    markLength = -1;
    delimiter ??= bytes === null ? DELIMITERS[0] : mostFrequent(bytes);
    const record = { line: startLine, bytes, delimiter: String.fromCharCode(delimiter) };
    [pieces, size, startLine, isQuoted, isFieldStart, wasQuote] = [[], 0, line, false, true, false];
    return record;
  };
  for await (const chunk of source) {
    let start = 0;
    const keep = (end: number): void => {
      size += end - start;
      if (size > maxRowBytes) [pieces, isQuoted] = [[], false];
      else if (end > start) pieces.push(chunk.slice(start, end));
    };
    for (let index = 0; index < chunk.length; index += 1) {
      const byte = chunk[index]!;
      // Before the first cell, which may be quoted.
      if (markLength >= 0 && byte === BYTE_ORDER_MARK[markLength]) {
        markLength += 1;
        continue;
      }
      if (markLength < BYTE_ORDER_MARK.length) markLength = -1;
      if (byte === NEWLINE) {
        line += 1;
        if (isQuoted && size + index - start <= maxRowBytes) continue;
        keep(index);
        yield finish();
        start = index + 1;
        continue;
      }
      if (byte === QUOTE) {
        // A quote opens a field only at its start, or doubles the one before it; anywhere else it is a character.
        if (isQuoted) [isQuoted, wasQuote] = [false, true];
        else if (isFieldStart || wasQuote) [isQuoted, wasQuote] = [true, false];
        isFieldStart = false;
        continue;
      }
      wasQuote = false;
      isFieldStart = delimiter === undefined ? (DELIMITERS as readonly number[]).includes(byte) : byte === delimiter;
    }
    keep(chunk.length);
  }
  if (size > 0) yield finish();
}

function mostFrequent(header: Buffer): number {
  const count = (delimiter: number): number => header.filter((byte) => byte === delimiter).length;
  return [...DELIMITERS].sort((left, right) => count(right) - count(left))[0]!;
}

function withoutReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === RETURN ? bytes.subarray(0, -1) : bytes;
}
