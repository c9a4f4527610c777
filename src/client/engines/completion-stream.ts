import type { ToolCall } from "../../types/common.js";
import type { GenerationChunk } from "../../types/generation.js";
import type { Attempt } from "../http/attempt.js";
import { readComplaint } from "../http/engine-complaint.js";
import { invalidResponse, statusError } from "../http/engine-errors.js";
import type { BodyReader } from "../http/transport.js";
import { type CompletionEvent, NotACompletion } from "./completion-wire.js";
import type { EventSplitter, StreamFormat } from "./stream-format.js";
import { ToolCallPieces } from "./tool-call-pieces.js";

/** Milliseconds that the end of the body may come after the end of the text, so that the connection can be used again. */
const DRAIN_MS = 1_000;

/** A piece of a stream, and the event that it came in. */
export interface StreamPiece extends GenerationChunk {
  /** The event as the engine wrote it; only where the stream was opened to pass it on. */
  raw?: string;
}

/** A chat stream of an engine: pulls parts of the body and keeps the pieces in them until they are taken. */
export class CompletionStream {
  usage: CompletionEvent["usage"] = null;
  finishReason: string | null = null;
  model: string | null = null;
  /** Events with text so far. */
  textEvents = 0;
  private pieces: StreamPiece[] = [];
  private isDone = false;
  private failure: Error | null = null;
  private unparsedBytes = 0;
  private readonly calls = new ToolCallPieces();
  private readonly splitter: EventSplitter;
  private readonly read: (data: string) => CompletionEvent | null;
  // fatal: a text with replacement characters would be learnt from later
  private readonly decoder = new TextDecoder("utf-8", { fatal: true });

  readonly attempt: Attempt;
  private readonly body: BodyReader;
  private readonly options: { maxEventBytes: number; format: StreamFormat; keepsRaw: boolean };

  /** `keepsRaw`: every event becomes a piece, also one without text. */
  constructor(attempt: Attempt, body: BodyReader, options: { maxEventBytes: number; format: StreamFormat; keepsRaw: boolean }) {
    this.attempt = attempt;
    this.body = body;
    this.options = options;
    this.read = options.format.reader();
    this.splitter = options.format.splitter({
      maxEventBytes: options.maxEventBytes,
      onEvent: (data) => this.onEvent(data),
      onTooLong: () => this.fail(this.tooLong()),
    });
  }

  /** True when everything was received and taken. */
  get isOver(): boolean {
    return this.isDone && this.pieces.length === 0;
  }

  /** What the model has asked for so far. */
  get toolCalls(): ToolCall[] {
    return this.calls.joined;
  }

  /** Throws what went wrong before any text arrived: until then the call may be tried again. */
  throwIfFailed(): void {
    if (this.pieces.length === 0 && this.failure !== null) throw this.failure;
  }

  /** The pieces that have arrived; throws what came after them once they are taken. */
  take(): StreamPiece[] {
    const { pieces } = this;
    if (pieces.length > 0) {
      this.pieces = [];
      return pieces;
    }
    if (this.failure !== null) throw this.failure;
    return pieces;
  }

  /** Lets the rest go; nothing of it is wanted. */
  drop(): void {
    this.pieces = [];
    this.body.destroy();
  }

  /** Reads until a piece, the end or an error has arrived. */
  async fill(firstTokenMs: number | null, idleMs: number): Promise<void> {
    const { attempt, body } = this;
    if (firstTokenMs !== null) attempt.enter("first token", firstTokenMs);
    try {
      while (this.pieces.length === 0 && !this.isDone && this.failure === null) {
        if (firstTokenMs === null) attempt.enter("next token", idleMs);
        this.feed(await body.read());
      }
    } catch (error) {
      throw attempt.connection.networkError(attempt, error);
    }
    attempt.park();
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
      this.splitter.feed(this.decoder.decode(part, { stream: true }));
    } catch (error) {
      this.fail(this.invalid("the stream is not UTF-8", error));
    }
    if (this.unparsedBytes > this.options.maxEventBytes) this.fail(this.tooLong());
  }

  private onEvent(data: string): void {
    this.unparsedBytes = 0;
    if (this.isDone || this.failure !== null) return;
    try {
      const event = this.read(data);
      if (event !== null) this.note(event, data);
      if (event !== null && event.isLast !== true) return;
      this.isDone = true;
      if (this.finishReason === null) this.fail(this.invalid("the stream has no finish reason"));
    } catch (error) {
      this.fail(error instanceof NotACompletion ? this.brokenOff(error) : (error as Error));
    }
  }

  private note({ text, toolCalls: pieces, finishReason, model, usage }: CompletionEvent, raw: string): void {
    if (text !== "") this.textEvents += 1;
    const toolCalls = pieces?.map((piece) => this.calls.add(piece));
    if (this.options.keepsRaw) this.pieces.push({ text, raw });
    else if (text !== "" || toolCalls !== undefined) this.pieces.push(toolCalls === undefined ? { text } : { text, toolCalls });
    if (finishReason !== null) this.finishReason = finishReason;
    if (model !== null) this.model = model;
    if (usage !== null) this.usage = usage;
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
    return this.invalid(`an event of the stream is larger than ${this.options.maxEventBytes} bytes (maxEventBytes)`);
  }

  private invalid(what: string, cause?: unknown): Error {
    return invalidResponse(this.attempt.connection.url, what, cause);
  }

  private fail(error: Error): void {
    this.failure ??= error;
  }

  /** Reads the few bytes after the end, in the background: only then can the connection be used again. */
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
