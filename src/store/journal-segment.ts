import { createReadStream } from "node:fs";
import { StorageError } from "../errors.js";
import { decodeLine } from "./journal-line.js";
import type { JournalEntry } from "./store.js";

/**
 * Hands every entry of a segment to `read` and returns the number of bytes that hold whole, sound lines.
 * A last line that a crash cut off is left out where `allowTorn`; any other damage is an error, after the good prefix was read.
 */
export async function readSegment(path: string, allowTorn: boolean, read: (entry: JournalEntry) => void): Promise<number> {
  let goodBytes = 0;
  let line = 0;
  let damagedLine: number | null = null;
  let rest: Buffer[] = [];
  const take = (bytes: Buffer, isEnded: boolean): void => {
    line += 1;
    const decoded = isEnded ? decodeLine(bytes.toString("utf8")) : null;
    if (decoded === null) {
      damagedLine ??= line;
      return;
    }
    if (damagedLine !== null) {
      // Blocks of one batch reach the disk in any order: damage inside the last batch is a crash too, before it was acknowledged.
      const batchLine = line - decoded.batchIndex;
      if (batchLine > damagedLine) throw corrupt(path, damagedLine);
      return;
    }
    goodBytes += bytes.length + 1;
    read(decoded.entry);
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const part = chunk.subarray(start, end);
      take(rest.length === 0 ? part : Buffer.concat([...rest, part]), true);
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
  if (rest.length > 0) take(Buffer.concat(rest), false);
  if (damagedLine !== null && !allowTorn) throw corrupt(path, damagedLine);
  return goodBytes;
}

function corrupt(path: string, line: number): StorageError {
  return new StorageError(
    "journal_corrupt",
    `The journal ${path} is damaged at line ${line}: its checksum is wrong, and sound lines follow. The lines before it are good. Restore the file from a backup; or, to give up what follows, cut it off before line ${line}.`,
    { details: { path, line } },
  );
}
