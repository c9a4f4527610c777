import { randomUUID } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StorageError } from "../../errors.js";
import { splitLines } from "../../support/line-splitter.js";

const BUFFER_BYTES = 256 * 1024;
/** Small, because a merge reads many places at once. */
const READ_BYTES = 64 * 1024;

/**
 * Keeps what does not fit into memory in a file of the system's temporary folder. The file has no name once it is open, where the system allows that, so that
 * a crash leaves no texts of people behind.
 */
export class Spool {
  readonly file: FileHandle;
  readonly #path: string;
  #gathered: Buffer[] = [];
  #bytes = 0;
  #written = 0;

  private constructor(file: FileHandle, path: string) {
    this.file = file;
    this.#path = path;
  }

  /** A new, empty file that only this user may read. */
  static async open(): Promise<Spool> {
    const path = join(tmpdir(), `clara-${randomUUID()}.spool`);
    const file = await open(path, "wx+", 0o600);
    if (process.platform !== "win32") await rm(path);
    return new Spool(file, path);
  }

  /** Bytes so far. */
  get size(): number {
    return this.#written + this.#bytes;
  }

  /** Appends bytes. @throws StorageError `disk_full` */
  async write(bytes: Uint8Array): Promise<void> {
    this.#gathered.push(Buffer.from(bytes));
    this.#bytes += bytes.byteLength;
    if (this.#bytes >= BUFFER_BYTES) await this.flush();
  }

  /** Appends a value as a line of JSON. */
  async add(value: unknown): Promise<void> {
    await this.write(Buffer.from(`${JSON.stringify(value)}\n`));
  }

  /** Writes what is gathered. */
  async flush(): Promise<void> {
    const block = Buffer.concat(this.#gathered);
    [this.#gathered, this.#bytes] = [[], 0];
    try {
      await this.file.writeFile(block);
      this.#written += block.length;
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      if (errno !== "ENOSPC" && errno !== "EDQUOT") throw error;
      const message = `The disk of ${tmpdir()} is full; nothing was imported. Free some space, or set TMPDIR to another disk, and import again.`;
      throw new StorageError("disk_full", message, { details: { errno }, cause: error, isRetryable: true });
    }
  }

  /** The values in their order; where given, those between two places. */
  async *values<T>(start = 0, end = Number.POSITIVE_INFINITY): AsyncGenerator<T> {
    await this.flush();
    for await (const line of splitLines(this.#read(start, Math.min(end, this.#written)), Number.POSITIVE_INFINITY)) {
      if ("code" in line) throw damaged(line.code);
      yield JSON.parse(line.text) as T;
    }
  }

  /** The one value that stands between two places. */
  async value<T>(start: number, end: number): Promise<T> {
    for await (const value of this.values<T>(start, end)) return value;
    throw damaged("a value is missing");
  }

  async *#read(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let position = start; position < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - position));
      const { bytesRead } = await this.file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) throw damaged("it ends too early");
      yield buffer.subarray(0, bytesRead);
      position += bytesRead;
    }
  }

  /** Deletes the file. */
  async close(): Promise<void> {
    await this.file.close();
    await rm(this.#path, { force: true });
  }
}

function damaged(how: string): StorageError {
  return new StorageError("store_unavailable", `The temporary file of the import is damaged (${how}).`);
}
