import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseRetryAfter } from "../../src/client/http/retry-after.js";
import { ServingClient } from "../../src/client/index.js";
import { OverloadedError } from "../../src/errors.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("a retry", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  beforeEach(async () => {
    engine = await startStandInEngine({ answer: () => "well" });
    serving = new ServingClient({ endpoints: [engine.url], retries: { minDelayMs: 10 } });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  const gapMs = (index: number) => engine.questions[index]!.receivedAt - engine.questions[index - 1]!.receivedAt;

  it("waits the seconds that a 429 asks for", async () => {
    engine.setFault({ kind: "status", status: 429, retryAfter: "1", times: 1 });
    expect((await serving.generate({ prompt: "?" })).text).toBe("well");
    expect(engine.questions.length).toBe(2);
    expect(gapMs(1)).toBeGreaterThanOrEqual(990);
  });

  it("waits until the date that a 503 asks for, also for a stream", async () => {
    // a date has whole seconds: two ahead is at least one
    engine.setFault({ kind: "status", status: 503, retryAfter: new Date(Date.now() + 2_000).toUTCString(), times: 1 });
    expect((await serving.stream({ prompt: "?" }).result).text).toBe("well");
    expect(gapMs(1)).toBeGreaterThanOrEqual(900);
  });

  it("gives up at once where the engine asks for more than is waited, and says how long", async () => {
    engine.setFault({ kind: "status", status: 429, retryAfter: "120" });
    const error = await serving.generate({ prompt: "?" }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OverloadedError);
    expect(error).toMatchObject({ code: "rate_limited", isRetryable: true, retryAfterMs: 120_000 });
    expect(engine.questions.length).toBe(1);
  });

  it.each([
    ["a reset", { kind: "reset" }],
    ["a closed connection", { kind: "close" }],
    ["502", { kind: "status", status: 502 }],
    ["503", { kind: "status", status: 503 }],
    ["504", { kind: "status", status: 504 }],
    ["a reset after the headers, before any text", { kind: "reset", afterTokens: 0 }],
  ] as const)("follows %s, with growing pauses, as often as the options say", async (_name, fault) => {
    engine.setFault({ ...fault, times: 2 });
    expect((await serving.stream({ prompt: "?" }).result).text).toBe("well");
    expect(engine.questions.length).toBe(3);
    expect(gapMs(1)).toBeGreaterThanOrEqual(9);
    expect(gapMs(2)).toBeGreaterThanOrEqual(19);
    engine.setFault(fault);
    await expect(serving.stream({ prompt: "?" }).result).rejects.toMatchObject({ code: "engine_unavailable" });
    expect(engine.questions.length).toBe(6);
  });

  it.each([400, 401, 404, 422, 500, 501])("does not follow %i", async (status) => {
    engine.setFault({ kind: "status", status });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_error", details: { status } });
    expect(engine.questions.length).toBe(1);
  });

  it("never happens after the first text was given out, neither there nor elsewhere", async () => {
    const fault = { kind: "reset", afterTokens: 1 } as const;
    await using first = await startStandInEngine({ answer: () => "one two", faults: [fault] });
    await using client = new ServingClient({ endpoints: [first.url, engine.url], retries: { max: 5, minDelayMs: 1 } });
    let given = "";
    const reading = (async () => {
      for await (const chunk of client.stream({ prompt: "?" })) given += chunk.text;
    })();
    await expect(reading).rejects.toMatchObject({ code: "engine_unavailable" });
    expect(given).toBe("one");
    expect([first.questions.length, engine.questions.length]).toEqual([1, 0]);
  });

  it("ends with the caller's signal while it pauses", async () => {
    engine.setFault({ kind: "status", status: 429, retryAfter: "20" });
    const controller = new AbortController();
    const reply = serving.generate({ prompt: "?" }, { signal: controller.signal });
    const settled = expect(reply).rejects.toMatchObject({ code: "aborted" });
    while (engine.questions[0]?.state !== "finished") await new Promise(setImmediate);
    controller.abort();
    await settled;
    expect(engine.questions.length).toBe(1);
  });

  it("can be switched off", async () => {
    await using strict = new ServingClient({ endpoints: [engine.url], retries: { max: 0 } });
    engine.setFault({ kind: "status", status: 503, times: 1 });
    await expect(strict.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_unavailable" });
  });
});

describe("a retry-after header", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  it.each([
    ["3", 3_000],
    [" 0 ", 0],
    ["1.5", 1_500],
    ["Tue, 24 Nov 2026 12:00:05 GMT", 5_000],
    ["Tue, 24 Nov 2026 11:00:00 GMT", 0],
    ["soon", null],
    ["-3", null],
    ["", null],
    [null, null],
  ])("%j means %j ms", (header, expected) => {
    expect(parseRetryAfter(header, now)).toBe(expected);
  });
});
