import { createReadStream } from "node:fs";
import { AbortedError } from "../errors.js";
import type { CallOptions } from "../types/common.js";
import { configError } from "./problems.js";
import { type Place, placeOf } from "./setting-sources.js";

/** Bytes; a configuration has a few thousand. */
const MOST_BYTES = 65_536;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "is not there; the path is taken from the working directory of this process",
  EISDIR: "is a folder; name the file in it",
  EACCES: "may not be read by this user",
  ENOTDIR: "is not there: part of its path is a file",
};

/** The file's text. Read no further than its greatest size, so that a pipe may be read as well and a device without end does no harm. */
export async function readText(file: string, { signal }: CallOptions): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(file, { end: MOST_BYTES, signal })) chunks.push(chunk as Buffer);
  } catch (error) {
    if (signal?.aborted) throw new AbortedError("The call was aborted.", { cause: signal.reason });
    const code = String((error as NodeJS.ErrnoException).code);
    throw refused(file, REASONS[code] ?? `cannot be read (${code})`, {}, error);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length > MOST_BYTES) throw refused(file, `is too large: a configuration has at most ${MOST_BYTES / 1024} KiB`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    const text = bytes.toString("utf8");
    throw refused(file, "is not UTF-8: save it with this encoding", placeOf(text, text.indexOf("\ufffd")), error);
  }
}

function refused(file: string, message: string, place: Partial<Place> = {}, cause?: unknown) {
  return configError(file, [{ path: "", ...place, message }], cause);
}
