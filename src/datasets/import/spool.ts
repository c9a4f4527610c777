import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StorageError } from "../../errors.js";
import { splitLines } from "../../support/line-splitter.js";

const BUFFER_BYTES = 256 * 1024;

/**
 * Keeps what does not fit into memory in a file of the system's temporary folder. The file has no name once it is open, where the system allows that, so that
 * a crash leaves no texts of people behind.
 */
export class Spool {
  readonly file: FileHandle;
  readonly #path: string;
  #gathered: Buffer[] = [];
  #bytes = 0;

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
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      if (errno !== "ENOSPC" && errno !== "EDQUOT") throw error;
      const message = `The disk of ${tmpdir()} is full; nothing was imported. Free some space, or set TMPDIR to another disk, and import again.`;
      throw new StorageError("disk_full", message, { details: { errno }, cause: error, isRetryable: true });
    }
  }

  /** The values in their order. */
  async *values<T>(): AsyncGenerator<T> {
    await this.flush();
    const bytes = createReadStream(this.#path, { fd: this.file, start: 0, autoClose: false, highWaterMark: BUFFER_BYTES });
    for await (const line of splitLines(bytes, Number.POSITIVE_INFINITY)) {
      if ("code" in line) throw new StorageError("store_unavailable", `The temporary file of the import is damaged (${line.code}).`);
      yield JSON.parse(line.text) as T;
    }
  }

  /** Deletes the file. */
  async close(): Promise<void> {
    await this.file.close();
    await rm(this.#path, { force: true });
  }
}
