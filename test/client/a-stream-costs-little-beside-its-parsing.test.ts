import { createHook } from "node:async_hooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FetchLike } from "../../src/client/http/transport.js";
import { ServingClient } from "../../src/client/index.js";

const TOKENS = 64;

/** What an engine streams: an event a token, and `[DONE]`. */
function eventsOf(count: number): string[] {
  const events = Array.from({ length: count }, (_, index) => ({
    choices: [{ index: 0, delta: { content: ` word${index}` }, finish_reason: index === count - 1 ? "stop" : null }],
  }));
  return [...events.map((event) => `data: ${JSON.stringify(event)}\n\n`), "data: [DONE]\n\n"];
}

describe("a stream", () => {
  let packets: Uint8Array[];
  let serving: ServingClient;

  beforeEach(() => {
    // answers from memory: a socket's own promises and timers would be counted too
    const fetch: FetchLike = async (url) => {
      const isChat = url.endsWith("/v1/chat/completions");
      const parts = isChat ? packets.values() : [Buffer.from('{"data":[{"id":"base"}]}')].values();
      const read = async () => {
        const { done, value } = parts.next();
        return { done: done === true, value };
      };
      const headers = new Headers({ "content-type": isChat ? "text/event-stream" : "application/json" });
      return { status: 200, headers, body: { getReader: () => ({ read, cancel: async () => undefined }) } };
    };
    serving = new ServingClient({ engine: "openai-compatible", endpoints: ["http://engine.test"], fetch });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await serving.close();
  });

  async function read(parts: string[]): Promise<number> {
    packets = parts.map((part) => Buffer.from(part));
    let chunks = 0;
    for await (const _chunk of serving.stream({ prompt: "?" })) chunks += 1;
    return chunks;
  }

  /** Promises that reading makes, once whatever is made once for all has been made. */
  async function promisesOf(parts: string[]): Promise<number> {
    await read(parts);
    let promises = 0;
    const hook = createHook({
      init: (_id, type) => {
        if (type === "PROMISE") promises += 1;
      },
    }).enable();
    await read(parts);
    hook.disable();
    return promises;
  }

  it("parses two of its events as JSON, and makes two abort controllers, two listeners and three timers", async () => {
    const whole = [eventsOf(TOKENS).join("")];
    await read(whole);
    const parse = vi.spyOn(JSON, "parse");
    const timers = vi.spyOn(globalThis, "setTimeout");
    const listeners = vi.spyOn(EventTarget.prototype, "addEventListener");
    let controllers = 0;
    class CountedController extends AbortController {
      constructor() {
        super();
        controllers += 1;
      }
    }
    vi.stubGlobal("AbortController", CountedController);
    expect(await read(whole)).toBe(TOKENS);
    vi.unstubAllGlobals();
    // the first, and the last, which ends the text; each once more to find the place of its text
    expect(parse.mock.calls.length).toBe(4);
    // the call's and its attempt's; the call's time limit, the attempt's clock, and the wait for the end of the body
    expect([controllers, timers.mock.calls.length]).toEqual([2, 3]);
    // the slot's and the attempt's
    expect(listeners.mock.calls.length).toBe(2);
  });

  it("makes two promises for each chunk that came with others, one of them the loop's own", async () => {
    const many = await promisesOf([eventsOf(TOKENS + 1).join("")]);
    const one = await promisesOf([eventsOf(1).join("")]);
    expect((many - one) / TOKENS).toBe(2);
  });

  it("makes twelve promises for each chunk that came alone, those of the injected fetch among them", async () => {
    const many = await promisesOf(eventsOf(TOKENS + 1));
    const one = await promisesOf(eventsOf(1));
    expect((many - one) / TOKENS).toBe(12);
  });
});
