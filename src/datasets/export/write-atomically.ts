import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AbortedError, ClaraError, StorageError, ValidationError } from "../../errors.js";

/** Bytes gathered before they are written: one system call a row would cost more than the row. */
const BUFFER_BYTES = 256 * 1024;

/**
 * Writes a file that is whole or not there: into a neighbour, flushed to disk, then renamed. An existing file is replaced only in the end.
 * @throws StorageError `disk_full`, `store_unavailable`; ValidationError where the folder does not exist or `path` is a folder
 */
export async function writeAtomically(path: string, chunks: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<string> {
  const target = resolve(path);
  const temporary = `${target}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      for await (const block of inBlocks(chunks)) {
        if (signal?.aborted) throw new AbortedError();
        await file.writeFile(block);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    throw toClaraError(error, target);
  }
  return target;
}

async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    gathered.push(chunk);
    bytes += chunk.byteLength;
    if (bytes < BUFFER_BYTES) continue;
    yield Buffer.concat(gathered);
    gathered = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(gathered);
}

function toClaraError(error: unknown, path: string): unknown {
  if (ClaraError.isInstance(error)) return error;
  const code = (error as NodeJS.ErrnoException).code;
  const details = { path, errno: code };
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new ValidationError("input_invalid", `The folder ${dirname(path)} does not exist. Create it, or export to another path.`, {
      details,
      cause: error,
    });
  }
  if (code === "EISDIR")
    return new ValidationError("input_invalid", `${path} is a folder. Give the path of a file.`, { details, cause: error });
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new StorageError("disk_full", `The disk is full; ${path} was not written. Free some space and export again.`, {
      details,
      cause: error,
      isRetryable: true,
    });
  }
  if (code === undefined) return error;
  return new StorageError("store_unavailable", `${path} cannot be written (${code}). Check the rights and the disk.`, {
    details,
    cause: error,
  });
}
