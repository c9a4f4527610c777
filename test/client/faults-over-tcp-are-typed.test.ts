import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { ClaraError, type ClaraErrorCode } from "../../src/errors.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import { FaultyProxy, type ProxyFault } from "./support/faulty-proxy.js";

const TEXT = "one two three four";
const LIMIT_BYTES = 100_000;
/** Every timeout that may end a silent fault, and what a loaded machine may take on top of it, milliseconds. */
const TIMEOUT_MS = 300;
const SLACK_MS = 5_000;
const EVENTS = "text/event-stream";
/** A loaded machine may look when the first rest is over. */
const SPARED = expect.stringMatching(/^(open|half-open)$/);

/** A fault, and how a call ends by it. `given`: the text of a stream before it; with any, no other endpoint may be asked. */
interface Row {
  fault: ProxyFault;
  code: ClaraErrorCode;
  isRetryable: boolean;
  given: string;
  /** Only the total timeout ends a whole answer, which stays with its endpoint: what comes before its last token is not told. */
  isSilent: boolean;
  asks: ("stream" | "whole")[];
}

const row = (code: ClaraErrorCode, isRetryable: boolean, fault: ProxyFault, more: Partial<Row> = {}): Row => ({
  fault,
  code,
  isRetryable,
  given: "",
  isSilent: false,
  asks: ["stream", "whole"],
  ...more,
});
const inText = { given: "one" };
const silent = { isSilent: true };

const rows: Row[] = [
  row("engine_unavailable", true, { kind: "reset", at: "connect" }),
  row("engine_unavailable", true, { kind: "reset", at: "question" }),
  row("engine_unavailable", true, { kind: "reset", at: "text" }, inText),
  row("engine_unavailable", true, { kind: "cut" }, inText),
  row("engine_error", true, { kind: "error-event" }, { ...inText, asks: ["stream"] }),
  row("request_timeout", true, { kind: "stall", at: "head" }, silent),
  row("request_timeout", true, { kind: "stall", at: "text" }, { ...silent, ...inText }),
  row("request_timeout", true, { kind: "half-open", at: "connect" }, silent),
  row("request_timeout", true, { kind: "half-open", at: "text" }, { ...silent, ...inText }),
  row("request_timeout", true, { kind: "slow-headers", everyMs: 10 }, silent),
  row("rate_limited", true, { kind: "too-many-requests" }),
  row("rate_limited", true, { kind: "too-many-requests", retryAfter: "1" }),
  row("engine_response_invalid", false, { kind: "garbage", where: "http" }),
  row("engine_response_invalid", false, { kind: "garbage", where: "events" }, { asks: ["stream"] }),
  row("engine_response_invalid", false, { kind: "garbage", where: "json" }, { asks: ["whole"] }),
  row("engine_response_invalid", false, { kind: "endless-line", contentType: EVENTS }, { asks: ["stream"] }),
  row("engine_response_invalid", false, { kind: "endless-line", contentType: "application/json" }, { asks: ["whole"] }),
  row("engine_response_invalid", false, { kind: "wrong-content-type", answer: "html" }),
  row("engine_response_invalid", false, { kind: "wrong-content-type", answer: "json" }, { asks: ["stream"] }),
  row("engine_response_invalid", false, { kind: "wrong-content-type", answer: "events" }, { asks: ["whole"] }),
];
const calls = rows.flatMap((one) => one.asks.map((how) => [how, one.fault, one] as const));

describe("a fault between client and engine", () => {
  let engine: StandInEngine;
  let proxy: FaultyProxy;
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);

  beforeEach(() => {
    process.on("unhandledRejection", onUnhandled);
  });
  afterEach(async () => {
    await proxy[Symbol.asyncDispose]();
    await engine.close();
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled.splice(0)).toEqual([]);
  });

  async function meet({ fault, isSilent }: Row, others: string[] = []): Promise<ServingClient> {
    engine = await startStandInEngine({ answer: () => TEXT });
    proxy = await FaultyProxy.start(engine.port, fault);
    const brief = { headersMs: TIMEOUT_MS, firstTokenMs: TIMEOUT_MS, idleMs: TIMEOUT_MS };
    const options: Partial<ServingClientOptions> = { retries: { max: 0 }, maxEventBytes: LIMIT_BYTES, maxResponseBytes: LIMIT_BYTES };
    return new ServingClient({ ...options, endpoints: [proxy.url, ...others], timeouts: isSilent ? brief : {} });
  }

  /** Asks; what goes wrong inside the text goes wrong once the text before it has arrived. */
  async function ask(serving: ServingClient, how: "stream" | "whole", given: string): Promise<{ text: string; endpoint: string }> {
    if (how === "whole") return serving.generate({ prompt: "?" });
    const strike = Promise.withResolvers<void>();
    proxy.strike = strike.promise;
    const stream = serving.stream({ prompt: "?" });
    let text = "";
    try {
      for await (const chunk of stream) {
        text += chunk.text;
        if (text === given) strike.resolve();
      }
    } catch (error) {
      expect(text, String(error)).toBe(given);
      await expect(stream.result).rejects.toBe(error);
      throw error;
    }
    return stream.result;
  }

  it.each(calls)(
    "of one %s, %j: is a typed error in time, counts, leaves no socket, and is over when it is healed",
    async (how, _, one) => {
      const endpoints = await meet(one);
      // a whole answer has no clock but the call's own
      await using total = new ServingClient({ ...endpoints.options, timeouts: { totalMs: TIMEOUT_MS } });
      await using serving = endpoints;
      const asked = how === "whole" && one.isSilent ? total : serving;
      const startedAt = performance.now();
      const error = await ask(asked, how, one.given).catch((reason: unknown) => reason);
      expect(performance.now() - startedAt).toBeLessThan(TIMEOUT_MS + SLACK_MS);
      expect(ClaraError.isInstance(error), String(error)).toBe(true);
      expect(error).toMatchObject({ code: one.code, isRetryable: one.isRetryable });
      expect(proxy.spoilt).toBe(1);
      expect(asked.endpoints()).toMatchObject([{ circuit: SPARED, load: 0 }]);
      await vi.waitFor(() => expect(proxy.hangingConnections).toBe(0));
      expect(proxy.poured).toBeLessThan(200 * LIMIT_BYTES);

      proxy.heal();
      expect(await ask(serving, how, TEXT)).toMatchObject({ text: TEXT, endpoint: proxy.url });
      expect(serving.endpoints()).toMatchObject([{ circuit: "closed", load: 0 }]);
      await Promise.all([serving.close(), total.close()]);
      await vi.waitFor(() => expect(proxy.openConnections).toBe(0));
      await vi.waitFor(() => expect(engine.questions.filter(({ state }) => state === "open")).toEqual([]));
    },
  );

  const movable = calls.filter(([how, , { given, isSilent }]) => (how === "whole" ? !isSilent : given === ""));

  it.each(movable)(
    "before the first token of one %s, %j: another endpoint answers, and is asked first from then on",
    async (how, _, one) => {
      await using healthy = await startStandInEngine({ answer: () => TEXT });
      await using serving = await meet(one, [healthy.url]);
      // a rest does not end while the clock stands
      using _clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
      for (let turn = 0; turn < 3; turn += 1) {
        expect(await ask(serving, how, TEXT)).toMatchObject({ text: TEXT, endpoint: healthy.url });
      }
      expect(proxy.spoilt).toBe(1);
      expect(serving.endpoints()[0]).toMatchObject({ endpoint: proxy.url, circuit: "open", load: 0 });
    },
  );

  const told = calls.filter(([how, , { given }]) => how === "stream" && given !== "");

  it.each(told)("after the first token of one %s, %j: no other endpoint is asked", async (how, _, one) => {
    await using healthy = await startStandInEngine({ answer: () => TEXT });
    await using serving = await meet(one, [healthy.url]);
    await expect(ask(serving, how, one.given)).rejects.toMatchObject({ code: one.code });
    expect(healthy.questions).toEqual([]);
    expect(serving.endpoints()[0]).toMatchObject({ endpoint: proxy.url, circuit: SPARED, load: 0 });
  });
});
