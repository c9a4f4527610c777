import type { ClaraError } from "../../errors.js";
import type { GenerationChunk } from "../../types/generation.js";
import { asClaraError } from "../http/engine-errors.js";

/** One event in the wire format of server-sent events (HTML standard, 9.2). */
export function eventOf(name: string | undefined, data: unknown): string {
  return `${name === undefined ? "" : `event: ${name}\n`}data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`;
}

/** How chunks become events. */
export interface ServerSentOptions {
  headers?: Record<string, string> | undefined;
  onEnd(): Promise<string[]> | string[];
  onError(error: ClaraError): string[];
}

/**
 * A response whose body pulls chunks as its reader does: a slow client slows the engine, and one that leaves stops it. Each chunk is
 * written at once.
 */
export function serverSentResponse(
  chunks: AsyncIterable<GenerationChunk>,
  eventsOf: (chunk: GenerationChunk) => string[],
  options: ServerSentOptions,
): Response {
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const write = (events: readonly string[]) => {
          for (const event of events) controller.enqueue(encoder.encode(event));
        };
        try {
          const { done, value } = await iterator.next();
          if (!done) {
            const events = eventsOf(value);
            // a pull that writes nothing is not repeated by the stream
            if (events.length > 0) write(events);
            else await this.pull!(controller);
            return;
          }
          write(await options.onEnd());
        } catch (error) {
          write(options.onError(asClaraError(error)));
        }
        controller.close();
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      // proxies of nginx's kind would collect events first
      "x-accel-buffering": "no",
      ...options.headers,
    },
  });
}
