/** The contenders of the client bench: each asks for one stream and gives out its text as it comes. */
import { setTimeout as delay } from "node:timers/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";
import { Agent, request } from "undici";
import { ServingClient } from "../../src/client/index.js";
import { ClaraError } from "../../src/errors.js";
import { MODEL, PROMPT } from "./answers.ts";

const MAX_TOKENS = 64;

/** Reads one stream; rejects where it broke off. */
export type Read = (onText: (text: string) => void, signal?: AbortSignal) => Promise<void>;

export interface Reader {
  read: Read;
  /** Where a contender promises what a broken stream throws. */
  isPromisedError?(error: unknown): boolean;
  close(): Promise<void>;
}

const headers = { "content-type": "application/json", accept: "text/event-stream" };
const question = () =>
  JSON.stringify({
    model: MODEL,
    messages: [{ role: "user", content: PROMPT }],
    max_tokens: MAX_TOKENS,
    stream: true,
    stream_options: { include_usage: true },
  });

/** The smallest reader of server-sent events that reads these answers right. */
function smallestParser(onText: (text: string) => void): (part: Uint8Array) => void {
  const decoder = new TextDecoder();
  let rest = "";
  return (part) => {
    const events = (rest + decoder.decode(part, { stream: true })).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const data = event.slice("data: ".length);
      if (data === "[DONE]") continue;
      const text = JSON.parse(data).choices[0]?.delta.content;
      if (text) onText(text);
    }
  };
}

function undici(base: string): Reader {
  const dispatcher = new Agent();
  const read: Read = async (onText, signal) => {
    const response = await request(`${base}/v1/chat/completions`, { method: "POST", headers, body: question(), signal, dispatcher });
    if (response.statusCode === 429) {
      await response.body.dump();
      await delay(Number(response.headers["retry-after"]) * 1_000);
      return read(onText, signal);
    }
    const parse = smallestParser(onText);
    for await (const part of response.body) parse(part);
  };
  return { read, close: () => dispatcher.destroy() };
}

function nativeFetch(base: string): Reader {
  const read: Read = async (onText, signal) => {
    const response = await fetch(`${base}/v1/chat/completions`, { method: "POST", headers, body: question(), signal });
    if (response.status === 429) {
      await response.text();
      await delay(Number(response.headers.get("retry-after")) * 1_000);
      return read(onText, signal);
    }
    const parse = smallestParser(onText);
    for await (const part of response.body!) parse(part);
  };
  return { read, close: async () => {} };
}

function openai(base: string): Reader {
  const client = new OpenAI({ apiKey: "none", baseURL: `${base}/v1` });
  return {
    read: async (onText, signal) => {
      const stream = await client.chat.completions.create(
        {
          model: MODEL,
          messages: [{ role: "user", content: PROMPT }],
          max_tokens: MAX_TOKENS,
          stream: true,
          stream_options: { include_usage: true },
        },
        { signal },
      );
      for await (const event of stream) {
        const text = event.choices[0]?.delta.content;
        if (text) onText(text);
      }
      // it ends an aborted stream without an error
      signal?.throwIfAborted();
    },
    close: async () => {},
  };
}

function ai(base: string): Reader {
  const model = createOpenAICompatible({ name: "bench", baseURL: `${base}/v1`, includeUsage: true }).chatModel(MODEL);
  return {
    read: async (onText, signal) => {
      let failure: unknown = null;
      // its iteration ends without an error also where the stream broke off
      const onError = ({ error }: { error: unknown }) => {
        failure = error;
      };
      const { textStream } = streamText({ model, prompt: PROMPT, maxOutputTokens: MAX_TOKENS, abortSignal: signal, onError });
      for await (const text of textStream) onText(text);
      if (failure !== null) throw failure;
      signal?.throwIfAborted();
    },
    close: async () => {},
  };
}

function clara(base: string): Reader {
  const serving = new ServingClient({ engine: "openai-compatible", endpoints: [base], maxConcurrency: 2_000 });
  return {
    read: async (onText, signal) => {
      for await (const { text } of serving.stream({ prompt: PROMPT, maxTokens: MAX_TOKENS }, { signal })) onText(text);
    },
    isPromisedError: (error) => ClaraError.isInstance(error) && error.code === "engine_unavailable" && error.isRetryable,
    close: () => serving.close(),
  };
}

export const readers: Record<string, (base: string) => Reader> = { undici, fetch: nativeFetch, openai, ai, clara };
