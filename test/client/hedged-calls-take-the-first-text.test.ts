import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("a hedged call", () => {
  let first: StandInEngine;
  let second: StandInEngine;
  beforeEach(async () => {
    first = await startStandInEngine({ answer: () => "the first says so" });
    second = await startStandInEngine({ answer: () => "the second says so" });
  });
  afterEach(() => Promise.all([first.close(), second.close()]));

  const client = (options: Partial<ServingClientOptions> = {}) =>
    new ServingClient({
      engine: "vllm",
      endpoints: [first.url, second.url],
      hedging: { afterMs: 30 },
      retries: { max: 0 },
      timeouts: { headersMs: 5_000, firstTokenMs: 5_000 },
      ...options,
    });
  const counts = () => [first.questions.length, second.questions.length];

  it("asks one endpoint only where that gives text in time", async () => {
    await using serving = client({ hedging: { afterMs: 4_000 } });
    for (let call = 0; call < 4; call += 1) await serving.stream({ prompt: "?" }).result;
    expect(counts()).toEqual([2, 2]);
  });

  it.each(["slow-headers", "stall"] as const)(
    "is answered by the second endpoint where the first is slow (%s), which is let go at once",
    async (kind) => {
      first.setFault({ kind });
      await using serving = client();
      const startedAt = performance.now();
      const stream = serving.stream({ prompt: "?" });
      let text = "";
      for await (const chunk of stream) text += chunk.text;
      expect(text).toBe("the second says so");
      expect(await stream.result).toMatchObject({ text, endpoint: second.url });
      expect(performance.now() - startedAt).toBeLessThan(4_000);
      expect(counts()).toEqual([1, 1]);
      await vi.waitFor(() => expect(first.questions[0]?.state).toBe("aborted"));
    },
  );

  it("does not hold it against an endpoint that it was slower", async () => {
    first.setFault({ kind: "slow-headers" });
    await using serving = client();
    await serving.generate({ prompt: "?" });
    first.setFault(null);
    expect(serving.endpoints().map(({ circuit }) => circuit)).toEqual(["closed", "closed"]);
  });

  it("fails with the engine's error where both fail", async () => {
    first.setFault({ kind: "slow-headers" });
    second.setFault({ kind: "status", status: 503 });
    await using serving = client({ timeouts: { headersMs: 300, firstTokenMs: 300 } });
    await expect(serving.stream({ prompt: "?" }).result).rejects.toMatchObject({
      code: expect.stringMatching(/overloaded|request_timeout/),
    });
    expect(counts()).toEqual([1, 1]);
  });

  it("ends at both endpoints when the caller leaves", async () => {
    for (const engine of [first, second]) engine.setFault({ kind: "slow-headers" });
    await using serving = client();
    const controller = new AbortController();
    const failing = serving.generate({ prompt: "?" }, { signal: controller.signal });
    failing.catch(() => undefined);
    await vi.waitFor(() => expect(counts()).toEqual([1, 1]));
    controller.abort();
    await expect(failing).rejects.toMatchObject({ code: "aborted" });
    await vi.waitFor(() => expect([first, second].map(({ questions }) => questions[0]?.state)).toEqual(["aborted", "aborted"]));
  });
});
