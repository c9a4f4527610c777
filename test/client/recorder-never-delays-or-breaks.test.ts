import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type GenerationRecorder, type RecordedGeneration, ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import type { Logger } from "../../src/types/common.js";

describe("the recorder", () => {
  let engine: StandInEngine;
  const warnings: { data: object; message?: string }[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (data, message) => warnings.push({ data, message }), error() {} };
  beforeEach(async () => {
    warnings.length = 0;
    engine = await startStandInEngine({ answer: () => "one two three" });
  });
  afterEach(() => engine.close());

  const client = (recorder: GenerationRecorder) => new ServingClient({ endpoints: [engine.url], recorder, logger, retries: { max: 0 } });

  it("that throws or rejects breaks nothing and is logged", async () => {
    const failures = [
      () => {
        throw new Error("disk full");
      },
      () => Promise.reject(new Error("disk full")) as unknown as undefined,
    ];
    for (const record of failures) {
      await using serving = client({ record });
      expect((await serving.generate({ prompt: "?" })).text).toBe("one two three");
      expect((await serving.stream({ prompt: "?" }).result).text).toBe("one two three");
    }
    await vi.waitFor(() => expect(warnings.length).toBe(4));
    expect(warnings[0]).toMatchObject({
      message: "the generation was not recorded",
      data: { generationId: expect.stringMatching(/^gen_/) },
    });
  });

  it("is called once, after the last token was given out, and before the result", async () => {
    const order: string[] = [];
    await using serving = client({ record: ({ text }) => order.push(`recorded ${text}`) });
    const stream = serving.stream({ prompt: "?" });
    stream.result.then(() => order.push("result"));
    for await (const chunk of stream) order.push(chunk.text);
    await stream.result;
    expect(order).toEqual(["one", " two", " three", "recorded one two three", "result"]);
  });

  it("gets a stream that broke in the middle with what was given out, calls that the engine failed, and none that was the caller's fault", async () => {
    const records: RecordedGeneration[] = [];
    await using serving = client({ record: (generation) => records.push(generation) });
    engine.setFault({ kind: "reset", afterTokens: 2 });
    await expect(serving.stream({ prompt: "?" }).result).rejects.toMatchObject({ code: "engine_unavailable" });
    expect(records).toMatchObject([{ text: "one two", finishReason: "error" }]);
    engine.setFault({ kind: "status", status: 500 });
    await expect(serving.stream({ prompt: "?" }).result).rejects.toMatchObject({ code: "engine_error" });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_error" });
    expect(records.slice(1)).toMatchObject([
      { text: "", finishReason: "error" },
      { text: "", finishReason: "error" },
    ]);
    engine.setFault({ kind: "status", status: 400 });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_error", details: { status: 400 } });
    expect(records.length).toBe(3);
  });
});

describe("a stream", () => {
  it("whose failure nobody awaits does not bring the process down", async () => {
    await using engine = await startStandInEngine({ faults: [{ kind: "status", status: 500 }] });
    await using serving = new ServingClient({ endpoints: [engine.url], retries: { max: 0 } });
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    await expect(
      (async () => {
        for await (const _chunk of serving.stream({ prompt: "?" }));
      })(),
    ).rejects.toMatchObject({ code: "engine_error" });
    await new Promise(setImmediate);
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
});
