import { createParser, type EventSourceParser } from "eventsource-parser";
import type { Attempt } from "../http/attempt.js";
import { invalidResponse, readComplaint, statusError } from "../http/engine-errors.js";
import type { BodyReader } from "../http/transport.js";
import { type CompletionEvent, NotACompletion, readStreamEvent } from "./completion-wire.js";

/** Milliseconds that the end of the body may come after `[DONE]`, so that the connection can be used again. */
const DRAIN_MS = 1_000;

/** A chat stream of an engine: pulls parts of the body and keeps the texts in them until they are taken. */
export class CompletionStream {
  usage: CompletionEvent["usage"] = null;
  finishReason: string | null = null;
  model: string | null = null;
  /** Events with text so far. */
  textEvents = 0;
  private texts: string[] = [];
  private isDone = false;
  private failure: Error | null = null;
  private unparsedBytes = 0;
  private readonly parser: EventSourceParser;
  // fatal: a text with replacement characters would be learnt from later
  private readonly decoder = new TextDecoder("utf-8", { fatal: true });

  readonly attempt: Attempt;
  private readonly body: BodyReader;
  private readonly maxEventBytes: number;

  constructor(attempt: Attempt, body: BodyReader, maxEventBytes: number) {
    this.attempt = attempt;
    this.body = body;
    this.maxEventBytes = maxEventBytes;
    this.parser = createParser({
      maxBufferSize: maxEventBytes,
      onEvent: ({ data }) => this.onEvent(data),
      onError: (error) => {
        // unknown fields are to be ignored (HTML standard, 9.2.6); only the buffer's limit is an error
        if (error.type === "max-buffer-size-exceeded") this.fail(this.tooLong());
      },
    });
  }

  /** True when everything was received and taken. */
  get isOver(): boolean {
    return this.isDone && this.texts.length === 0;
  }

  /** Throws what went wrong before any text arrived: until then the call may be tried again. */
  throwIfFailed(): void {
    if (this.texts.length === 0 && this.failure !== null) throw this.failure;
  }

  /** The texts that have arrived; throws what came after them once they are taken. */
  take(): string[] {
    const { texts } = this;
    if (texts.length > 0) {
      this.texts = [];
      return texts;
    }
    if (this.failure !== null) throw this.failure;
    return texts;
  }

  /** Lets the rest go; nothing of it is wanted. */
  drop(): void {
    this.texts = [];
    this.body.destroy();
  }

  /** Reads until a text, the end or an error has arrived. */
  async fill(firstTokenMs: number | null, idleMs: number): Promise<void> {
    if (firstTokenMs !== null) this.attempt.enter("first token", firstTokenMs);
    while (this.texts.length === 0 && !this.isDone && this.failure === null) {
      if (firstTokenMs === null) this.attempt.enter("next token", idleMs);
      const part = await this.attempt.connection.read(this.attempt, this.body);
      this.feed(part);
    }
    this.attempt.park();
    if (this.isDone) this.drain();
    else if (this.failure !== null) this.body.destroy();
  }

  private feed(part: Uint8Array | null): void {
    if (part === null) {
      if (this.finishReason === null) this.fail(this.invalid("the stream ended before the text did"));
      this.isDone = true;
      return;
    }
    this.unparsedBytes += part.length;
    try {
      this.parser.feed(this.decoder.decode(part, { stream: true }));
    } catch (error) {
      this.fail(this.invalid("the stream is not UTF-8", error));
    }
    if (this.unparsedBytes > this.maxEventBytes) this.fail(this.tooLong());
  }

  private onEvent(data: string): void {
    this.unparsedBytes = 0;
    if (this.isDone || this.failure !== null) return;
    if (data === "[DONE]") {
      this.isDone = true;
      if (this.finishReason === null) this.fail(this.invalid("the stream has no finish reason"));
      return;
    }
    try {
      const event = readStreamEvent(data);
      if (event.text !== "") {
        this.texts.push(event.text);
        this.textEvents += 1;
      }
      if (event.finishReason !== null) this.finishReason = event.finishReason;
      if (event.model !== null) this.model = event.model;
      if (event.usage !== null) this.usage = event.usage;
    } catch (error) {
      this.fail(error instanceof NotACompletion ? this.brokenOff(error) : (error as Error));
    }
  }

  /** An error object in the stream is treated as the HTTP status that it names. */
  private brokenOff({ message, complaint }: NotACompletion): Error {
    const { url } = this.attempt.connection;
    if (complaint === undefined) return invalidResponse(url, message);
    const said = readComplaint(JSON.stringify({ error: complaint }));
    const status = typeof said.code === "number" && said.code >= 400 && said.code <= 599 ? said.code : 500;
    return statusError(url, { status, retryAfter: null }, said);
  }

  private tooLong(): Error {
    return this.invalid(`an event of the stream is larger than ${this.maxEventBytes} bytes (maxEventBytes)`);
  }

  private invalid(what: string, cause?: unknown): Error {
    return invalidResponse(this.attempt.connection.url, what, cause);
  }

  private fail(error: Error): void {
    this.failure ??= error;
  }

  /** Reads the few bytes after `[DONE]`, in the background: only then can the connection be used again. */
  private drain(): void {
    const { body } = this;
    const timer = setTimeout(() => body.destroy(), DRAIN_MS);
    const pull = async () => {
      try {
        while ((await body.read()) !== null);
      } catch {
        // the text is complete; that the connection broke afterwards changes nothing
      } finally {
        clearTimeout(timer);
      }
    };
    void pull();
  }
}
