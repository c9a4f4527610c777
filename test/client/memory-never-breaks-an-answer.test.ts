import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CorrectionSource, ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import type { Logger } from "../../src/types/common.js";

describe("the memory of corrections", () => {
  let engine: StandInEngine;
  const warnings: string[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (_, message) => warnings.push(message ?? ""), error() {} };
  beforeEach(async () => {
    warnings.length = 0;
    engine = await startStandInEngine({ answer: () => "one two three" });
  });
  afterEach(() => engine.close());

  const client = (recall: CorrectionSource["recall"]) => new ServingClient({ endpoints: [engine.url], memory: { recall }, logger });
  const request = { prompt: "?", memory: true } as const;

  it("that fails is answered without and logged", async () => {
    await using serving = client(() => Promise.reject(new Error("the database is away")));
    const reply = await serving.generate(request);
    expect(reply.text).toBe("one two three");
    expect(reply.memory).toBeUndefined();
    expect((await serving.stream(request).result).text).toBe("one two three");
    expect(warnings).toEqual(Array.from({ length: 2 }, () => "the memory of corrections failed; the model answers without it"));
  });

  it("that does not answer is told to stop and left behind after two seconds", async () => {
    let told: AbortSignal | undefined;
    await using serving = client((_, { signal }) => {
      told = signal;
      return new Promise(() => {});
    });
    expect((await serving.generate(request)).text).toBe("one two three");
    expect(told?.aborted).toBe(true);
    expect(warnings).toHaveLength(1);
  });

  it("ends with its request, which is aborted and asks no engine", async () => {
    const caller = new AbortController();
    await using serving = client(() => {
      caller.abort();
      return new Promise(() => {});
    });
    await expect(serving.generate(request, { signal: caller.signal })).rejects.toMatchObject({ code: "aborted" });
    expect(warnings).toEqual([]);
    expect(engine.requests).toEqual([]);
  });
});
