import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { ReadableStream } from "node:stream/web";
import { AbortedError, ClaraError, ValidationError } from "../../errors.js";

/** What an import reads: the path of a file, or bytes as a Node or Web stream, or any iterable of them. Texts are taken as UTF-8. */
export type ImportSource = string | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** Bytes of a source, counted and hashed on their way. */
export class ByteSource implements AsyncIterable<Uint8Array> {
  readonly #source: ImportSource;
  readonly #signal: AbortSignal | undefined;
  readonly #hash = createHash("sha256");
  bytes = 0;

  constructor(source: ImportSource, signal?: AbortSignal) {
    const isIterable = typeof source === "object" && source !== null && (Symbol.asyncIterator in source || Symbol.iterator in source);
    if (typeof source !== "string" && !isIterable) {
      throw new ValidationError("input_invalid", "Give the path of a file, a stream, or an iterable of bytes to import.", {
        details: { field: "source" },
      });
    }
    this.#source = source;
    this.#signal = signal;
  }

  /** SHA-256 of what was read, hex; asked once, at the end. */
  sha256(): string {
    return this.#hash.digest("hex");
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const chunks = typeof this.#source === "string" ? createReadStream(this.#source, { highWaterMark: 256 * 1024 }) : this.#source;
    try {
      for await (const chunk of chunks as AsyncIterable<unknown>) {
        if (this.#signal?.aborted) throw new AbortedError();
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        if (!(bytes instanceof Uint8Array)) {
          throw new ValidationError("input_invalid", `The source gave ${typeof chunk} instead of bytes.`, { details: { field: "source" } });
        }
        if (this.bytes === 0) refuseForeignBytes(bytes);
        this.bytes += bytes.byteLength;
        this.#hash.update(bytes);
        yield bytes;
      }
    } catch (error) {
      throw typeof this.#source === "string" ? toClaraError(error, this.#source) : error;
    }
  }
}

/** What files begin with that hold their text in another form. */
const FOREIGN = [
  { start: [0x1f, 0x8b], what: "compressed with gzip", remedy: "createReadStream(path).pipe(createGunzip())" },
  { start: [0x50, 0x4b, 0x03, 0x04], what: "a ZIP archive", remedy: "one of the files in it" },
  { start: [0xff, 0xfe], what: "UTF-16", remedy: "it as UTF-8" },
  { start: [0xfe, 0xff], what: "UTF-16", remedy: "it as UTF-8" },
] as const;

function refuseForeignBytes(bytes: Uint8Array): void {
  const foreign = FOREIGN.find(({ start }) => start.every((byte, index) => bytes[index] === byte));
  if (foreign === undefined) return;
  throw new ValidationError("input_invalid", `The source is ${foreign.what}; give ${foreign.remedy} instead.`, {
    details: { field: "source" },
  });
}

function toClaraError(error: unknown, path: string): unknown {
  if (ClaraError.isInstance(error)) return error;
  const errno = (error as NodeJS.ErrnoException).code;
  if (errno === undefined) return error;
  const why = errno === "ENOENT" ? "does not exist" : errno === "EISDIR" ? "is a folder" : `cannot be read (${errno})`;
  return new ValidationError("input_invalid", `The file ${path} ${why}.`, { details: { path, errno }, cause: error });
}
