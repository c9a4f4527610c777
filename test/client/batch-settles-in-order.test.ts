import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BatchProgress, ServingClient } from "../../src/client/index.js";
import { OverloadedError } from "../../src/errors.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("a batch", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  let atOnce: number;
  let most: number;
  beforeEach(async () => {
    atOnce = 0;
    most = 0;
    engine = await startStandInEngine({
      answer: async ({ text }) => {
        atOnce += 1;
        most = Math.max(most, atOnce);
        // later questions are answered sooner
        await new Promise((resolve) => setTimeout(resolve, 60 - Number(text) * 5));
        atOnce -= 1;
        return `answer ${text}`;
      },
    });
    serving = new ServingClient({ endpoints: [engine.url], retries: { max: 0 } });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  it("settles each request by itself, in order, with progress and no more at once than asked", async () => {
    const seen: BatchProgress[] = [];
    const requests = Array.from({ length: 9 }, (_, index) => (index === 4 ? { prompt: "4", temperature: 99 } : { prompt: `${index}` }));
    const outcomes = await serving.generateBatch(requests, { concurrency: 3, onProgress: (progress) => seen.push(progress) });
    expect(outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value.text : outcome.reason.code))).toEqual(
      requests.map((request, index) => (index === 4 ? "input_invalid" : `answer ${request.prompt}`)),
    );
    expect(most).toBe(3);
    expect(seen.map(({ completed, failed }) => completed + failed)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(seen.at(-1)).toEqual({ completed: 8, failed: 1, total: 9 });
  });

  it("that is aborted keeps what it has and rejects the rest as aborted", async () => {
    const controller = new AbortController();
    const requests = Array.from({ length: 6 }, (_, index) => ({ prompt: `${index}` }));
    const outcomes = await serving.generateBatch(requests, {
      concurrency: 1,
      signal: controller.signal,
      onProgress: ({ completed }) => completed === 2 && controller.abort(),
    });
    expect(outcomes.map((outcome) => (outcome.status === "fulfilled" ? "ok" : outcome.reason.code))).toEqual([
      "ok",
      "ok",
      ...Array(4).fill("aborted"),
    ]);
    expect(engine.questions.length).toBeLessThanOrEqual(3);
  });

  it("of nothing is nothing, and a wrong concurrency is refused", async () => {
    expect(await serving.generateBatch([])).toEqual([]);
    await expect(serving.generateBatch([{ prompt: "1" }], { concurrency: 0 })).rejects.toMatchObject({ code: "config_invalid" });
  });
});

describe("an endpoint at its limit", () => {
  it("runs no more than maxConcurrency, lets maxWaiting wait, and refuses the next with a time", async () => {
    await using engine = await startStandInEngine({ faults: [{ kind: "slow-headers" }] });
    await using serving = new ServingClient({ endpoints: [engine.url], maxConcurrency: 2, maxWaiting: 1 });
    const controller = new AbortController();
    const held = [1, 2, 3].map((index) => serving.generate({ prompt: `${index}` }, { signal: controller.signal }));
    for (const one of held) one.catch(() => undefined);
    await vi.waitFor(() => expect(engine.questions.length).toBe(2));
    const error = await serving.generate({ prompt: "4" }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OverloadedError);
    expect(error).toMatchObject({ code: "overloaded", isRetryable: true });
    expect((error as OverloadedError).retryAfterMs).toBeGreaterThan(0);
    engine.setFault(null);
    controller.abort();
    await Promise.allSettled(held);
    expect((await serving.generate({ prompt: "5" })).text).toBe("base: 5");
    expect(engine.questions.length).toBe(3);
  });

  it("asks to wait for as long as its slots are held, by streams until their last token", async () => {
    await using engine = await startStandInEngine({ answer: () => "one two three four five six", tokenIntervalMs: 30 });
    await using serving = new ServingClient({ endpoints: [engine.url], maxConcurrency: 1, maxWaiting: 0 });
    let totalMs = 0;
    for (let turn = 0; turn < 4; turn += 1) totalMs += (await serving.stream({ prompt: "?" }).result).latencyMs;
    await serving.health();
    const running = serving.stream({ prompt: "?" })[Symbol.asyncIterator]();
    await running.next();
    const error = await serving.generate({ prompt: "?" }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "overloaded", message: expect.stringMatching(/Try again in \d+ ms/) });
    expect((error as OverloadedError).retryAfterMs / (totalMs / 4)).toBeGreaterThan(0.5);
    expect((error as OverloadedError).retryAfterMs / (totalMs / 4)).toBeLessThan(2);
    await running.return?.();
  });

  it("holds a stream's place until its end", async () => {
    await using engine = await startStandInEngine({ answer: () => "one two three" });
    await using serving = new ServingClient({ endpoints: [engine.url], maxConcurrency: 1 });
    const chunks = serving.stream({ prompt: "?" })[Symbol.asyncIterator]();
    expect((await chunks.next()).value).toEqual({ text: "one" });
    const second = serving.generate({ prompt: "2" });
    await chunks.next();
    await chunks.next();
    expect(engine.questions.length).toBe(1);
    expect((await chunks.next()).done).toBe(true);
    await second;
    expect(engine.questions.length).toBe(2);
  });
});
