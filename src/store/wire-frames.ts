/** One frame of the PostgreSQL frontend protocol (version 3.0, "Message Formats" of PostgreSQL's manual). */
export type Frame = { kind: "ssl" | "cancel" | "startup"; bytes: Buffer } | { kind: "message"; type: string; bytes: Buffer };

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
/** PostgreSQL's own limit on one message. */
const MAX_FRAME_BYTES = 0x3fffffff;

/** Cuts a byte stream, split anywhere, into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  #isStarted = false;
  /** True once the stream cannot be PostgreSQL's protocol. */
  isBroken = false;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next complete frame, or null until more bytes arrive. */
  next(): Frame | null {
    const headBytes = this.#isStarted ? 5 : 8;
    if (this.isBroken || this.#size < headBytes) return null;
    const head = this.#peek(headBytes);
    const length = this.#isStarted ? 1 + head.readUInt32BE(1) : head.readUInt32BE(0);
    if (length < headBytes || length > MAX_FRAME_BYTES) {
      this.isBroken = true;
      return null;
    }
    if (this.#size < length) return null;
    const bytes = this.#take(length);
    if (this.#isStarted) return { kind: "message", type: String.fromCharCode(bytes[0] ?? 0), bytes };
    const code = bytes.readUInt32BE(4);
    if (code === SSL_REQUEST || code === GSS_REQUEST) return { kind: "ssl", bytes };
    if (code === CANCEL_REQUEST) return { kind: "cancel", bytes };
    this.#isStarted = true;
    return { kind: "startup", bytes };
  }

  #peek(count: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!.subarray(0, count);
  }

  #take(count: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    const whole = this.#chunks[0]!;
    const rest = whole.subarray(count);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
    this.#size -= count;
    return whole.subarray(0, count);
  }
}
