import { AbortedError } from "../../errors.js";
import type { GenerationChunk, GenerationResult } from "../../types/generation.js";
import { eventOf, serverSentResponse } from "./server-sent-response.js";

/** What makes the chunks of a {@link GenerationStream}. */
export interface ChunkSource {
  /** The pieces that arrived together; the result at the end. Never asked again before it has answered, nor after the end or an error. */
  next(): Promise<IteratorResult<readonly GenerationChunk[], GenerationResult>>;
  /** Notes that the reader gets this text; false where the call is over and the rest must not be given out. */
  give(text: string): boolean;
  /** The reader left early: stop the engine. Resolves to what was received until then. */
  leave(): GenerationResult;
}

/**
 * A running generation: iterate over its chunks, and await `result` for the rest. Nothing is asked of the engine before
 * either is used; chunks are pulled, so a slow reader slows the engine. Leaving the loop early stops the engine and
 * resolves `result` to what was received, with the finish reason `aborted`; the caller's signal rejects both with `AbortedError`.
 * @example
 * ```ts
 * const stream = clara.serving.stream({ prompt: "Write a haiku about rivers." });
 * for await (const chunk of stream) process.stdout.write(chunk.text);
 * const { usage } = await stream.result;
 * ```
 */
export class GenerationStream implements AsyncIterable<GenerationChunk> {
  private readonly settled = deferred<GenerationResult>();
  private readonly chunks: AsyncGenerator<GenerationChunk, void>;
  /** What arrived together, and how much of it was given out. */
  private batch: readonly GenerationChunk[] = [];
  private given = 0;
  /** Pulls that `chunks` has not answered yet. */
  private pulls = 0;
  private isOpen = false;
  private isOver = false;
  private hasLeft = false;
  private source: ChunkSource | null = null;
  private drained: GenerationChunk[] | null = null;

  /** The id that the result will have. */
  readonly id: string;
  private readonly open: () => ChunkSource;

  constructor(id: string, open: () => ChunkSource) {
    this.id = id;
    this.open = open;
    this.chunks = this.run();
    // a caller who only iterates must not be punished for not awaiting `result`
    this.settled.promise.catch(() => undefined);
  }

  /** The whole answer, after its end. Where nobody iterates, it pulls the chunks itself. */
  get result(): Promise<GenerationResult> {
    setImmediate(() => {
      if (!this.isOpen) void this.drain();
    });
    return this.settled.promise;
  }

  /** The chunks, once: a second loop goes on where the first one stopped. */
  [Symbol.asyncIterator](): AsyncIterator<GenerationChunk, void> & AsyncIterable<GenerationChunk> {
    this.isOpen = true;
    if (this.drained !== null) return this.replay(this.drained);
    const iterator = {
      next: () => this.next(),
      return: async () => {
        this.leave();
        await this.chunks.return();
        return { done: true as const, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  /**
   * The chunks as a web stream; cancelling it stops the engine.
   * @example
   * ```ts
   * const chunks = clara.serving.stream({ prompt: text }).toReadableStream();
   * ```
   */
  toReadableStream(): ReadableStream<GenerationChunk> {
    const iterator = this[Symbol.asyncIterator]();
    return new ReadableStream<GenerationChunk>(
      {
        async pull(controller) {
          const { done, value } = await iterator.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        async cancel() {
          await iterator.return?.();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * The stream as an HTTP answer of server-sent events: `{ text }` for each piece, then an event `result` with the whole
   * `GenerationResult`, or an event `error` with `{ code, message, isRetryable }`. Cancelling its body stops the engine.
   * @example
   * ```ts
   * const answer = (request: Request) => clara.serving.stream({ prompt: new URL(request.url).searchParams.get("q") ?? "" }).toResponse();
   * ```
   */
  toResponse(init: { headers?: Record<string, string> } = {}): Response {
    return serverSentResponse(this, (chunk) => [eventOf(undefined, chunk)], {
      headers: init.headers,
      onEnd: async () => [eventOf("result", await this.result)],
      onError: (error) => [eventOf("error", { code: error.code, message: error.message, isRetryable: error.isRetryable })],
    });
  }

  /** What has arrived is given out without the generator, which takes several turns of the microtask queue for each value. */
  private next(): Promise<IteratorResult<GenerationChunk, void>> {
    const chunk = this.pulls === 0 ? this.take() : undefined;
    if (chunk !== undefined) return Promise.resolve({ done: false, value: chunk });
    this.pulls += 1;
    return this.chunks.next();
  }

  private take(): GenerationChunk | undefined {
    const chunk = this.batch[this.given];
    // where the call is over, the source itself ends with the error
    if (chunk === undefined || !this.source!.give(chunk.text)) return undefined;
    this.given += 1;
    return chunk;
  }

  private async *run(): AsyncGenerator<GenerationChunk, void> {
    try {
      const source = this.open();
      this.source = source;
      let step = await source.next();
      for (; !step.done; step = await source.next()) {
        this.batch = step.value;
        this.given = 0;
        for (let chunk = this.take(); chunk !== undefined; chunk = this.take()) {
          this.pulls -= 1;
          yield chunk;
        }
      }
      this.isOver = true;
      this.settled.resolve(step.value);
    } catch (error) {
      this.isOver = true;
      this.settled.reject(error);
      // a reader who left has asked for this end
      if (!this.hasLeft) throw error;
    }
  }

  /** Stops the engine before the pending pull is awaited: a queued `return` would wait for the next token. */
  private leave(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.hasLeft = true;
    if (this.source === null) this.settled.reject(new AbortedError("The reader left the stream before it began."));
    else this.settled.resolve(this.source.leave());
  }

  private async drain(): Promise<void> {
    const drained: GenerationChunk[] = [];
    this.drained = drained;
    this.isOpen = true;
    try {
      for (let step = await this.next(); !step.done; step = await this.next()) drained.push(step.value);
    } catch {
      // `result` has rejected with it
    }
  }

  private async *replay(drained: GenerationChunk[]): AsyncGenerator<GenerationChunk, void> {
    await this.settled.promise;
    yield* drained.splice(0);
  }
}

function deferred<Value>(): { promise: Promise<Value>; resolve(value: Value): void; reject(error: unknown): void } {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<Value>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
