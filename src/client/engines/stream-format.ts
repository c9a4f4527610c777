import { createParser } from "eventsource-parser";
import type { CompletionEvent } from "./completion-wire.js";
import { StreamEventReader } from "./stream-event-reader.js";

/** Cuts the text of a stream into events. */
export interface EventSplitter {
  feed(text: string): void;
}

/** How an engine writes a stream. */
export interface StreamFormat {
  contentType: string;
  splitter(options: { maxEventBytes: number; onEvent(data: string): void; onTooLong(): void }): EventSplitter;
  /** Reads the events of one stream; null where one only marks the end. Throws `NotACompletion`. */
  reader(): (data: string) => CompletionEvent | null;
}

/** Server-sent events in OpenAI's shape, ended by `[DONE]`. */
export const SERVER_SENT_EVENTS: StreamFormat = {
  contentType: "text/event-stream",
  splitter: ({ maxEventBytes, onEvent, onTooLong }) =>
    createParser({
      maxBufferSize: maxEventBytes,
      onEvent: ({ data }) => onEvent(data),
      onError: (error) => {
        // unknown fields are to be ignored (HTML standard, 9.2.6); only the buffer's limit is an error
        if (error.type === "max-buffer-size-exceeded") onTooLong();
      },
    }),
  reader: () => {
    const events = new StreamEventReader();
    return (data) => (data === "[DONE]" ? null : events.read(data));
  },
};

/** One JSON object a line, the last one marked by itself. */
export function jsonLines(read: (data: string) => CompletionEvent): StreamFormat {
  return {
    contentType: "application/x-ndjson",
    splitter: ({ maxEventBytes, onEvent, onTooLong }) => {
      let rest = "";
      return {
        feed(text) {
          const lines = (rest + text).split("\n");
          rest = lines.pop()!;
          for (const line of lines) if (line.trim() !== "") onEvent(line);
          if (rest.length > maxEventBytes) onTooLong();
        },
      };
    },
    reader: () => read,
  };
}
