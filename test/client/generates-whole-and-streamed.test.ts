import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RecordedGeneration, ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import type { RoutingDecision } from "../../src/types/routing.js";

const decision: RoutingDecision = {
  id: "dec_1",
  adapterId: "building@v2",
  confidence: 0.91,
  strategy: "embedding",
  domain: "building",
  candidates: [{ adapterId: "building@v2", score: 0.91 }],
  propensity: 1,
};

describe("a generation", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  let records: RecordedGeneration[];
  let routed: unknown[];

  beforeEach(async () => {
    records = [];
    routed = [];
    engine = await startStandInEngine();
    serving = new ServingClient({
      engine: "vllm",
      endpoints: [`${engine.url}/v1/`],
      recorder: { record: (generation) => records.push(generation) },
      router: {
        route: async (messages, { domain }) => {
          routed.push({ messages, domain });
          return decision;
        },
      },
    });
    await serving.loadAdapter({ id: "building@v2", path: "adapters/building@v2" });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  it("is routed, answered by the chosen adapter, and recorded with its question", async () => {
    const reply = await serving.generate({
      prompt: "How high may a fence be?",
      domain: "building",
      subjectId: "s1",
      metadata: { page: 7 },
    });
    expect(reply).toMatchObject({
      text: "building@v2: How high may a fence be?",
      adapterId: "building@v2",
      routingConfidence: 0.91,
      routing: decision,
      finishReason: "stop",
      model: "building@v2",
      endpoint: engine.url,
      usage: { promptTokens: 6, completionTokens: 7 },
    });
    expect(reply.id).toMatch(/^gen_[0-9a-f-]{36}$/);
    expect(reply.latencyMs).toBeGreaterThan(0);
    expect(routed).toEqual([{ messages: [{ role: "user", content: "How high may a fence be?" }], domain: "building" }]);
    expect(records).toEqual([
      {
        ...reply,
        prompt: "How high may a fence be?",
        messages: [{ role: "user", content: "How high may a fence be?" }],
        domain: "building",
        subjectId: "s1",
        metadata: { page: 7 },
        createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ]);
  });

  it("keeps a pinned adapter and a pinned base, and routes nothing then", async () => {
    const pinned = await serving.generate({ prompt: "hi", adapterId: "building@v2" });
    const base = await serving.generate({ prompt: "hi", adapterId: null });
    const unrouted = await serving.generate({ prompt: "hi", route: false });
    expect([pinned.text, base.text, unrouted.text]).toEqual(["building@v2: hi", "base: hi", "base: hi"]);
    expect([pinned, base, unrouted].map((reply) => [reply.routingConfidence, reply.routing])).toEqual(Array(3).fill([null, undefined]));
    expect(routed).toEqual([]);
  });

  it("streams the same answer in pieces, with usage, routing and id at its end", async () => {
    const stream = serving.stream({ prompt: "How high may a fence be?" });
    const pieces: string[] = [];
    for await (const chunk of stream) pieces.push(chunk.text);
    const result = await stream.result;
    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.join("")).toBe("building@v2: How high may a fence be?");
    expect(result).toMatchObject({
      id: stream.id,
      text: pieces.join(""),
      routing: decision,
      usage: { promptTokens: 6, completionTokens: 7 },
    });
    expect(records.map((record) => record.id)).toEqual([stream.id]);
  });

  it("gives the result of a stream that nobody iterates, and its chunks to a late reader", async () => {
    const stream = serving.stream({ prompt: "one two" });
    expect((await stream.result).text).toBe("building@v2: one two");
    const pieces: string[] = [];
    for await (const chunk of stream) pieces.push(chunk.text);
    expect(pieces.join("")).toBe("building@v2: one two");
  });

  it("passes sampling settings on, and its documented defaults where there are none", async () => {
    await serving.generate({ prompt: "a", route: false, maxTokens: 3, temperature: 0, topP: 0.5, stop: ["x"], seed: 7 });
    await serving.generate({ prompt: "a", route: false });
    const bodies = engine.questions.filter((request) => request.path === "/v1/chat/completions").map((request) => request.body);
    expect(bodies[0]).toMatchObject({ model: "base", max_tokens: 3, temperature: 0, top_p: 0.5, stop: ["x"], seed: 7 });
    expect(bodies[1]).toEqual({ model: "base", messages: [{ role: "user", content: "a" }], max_tokens: 256, temperature: 0.7 });
  });

  it("refuses a wrong request by its field, before anything is sent", async () => {
    const before = engine.questions.length;
    await expect(serving.generate({ prompt: "a", temperature: 9 })).rejects.toMatchObject({
      code: "input_invalid",
      details: { field: "temperature" },
    });
    await expect(serving.generate({ prompt: "a", messages: [{ role: "user", content: "b" }] })).rejects.toMatchObject({
      code: "input_invalid",
    });
    await expect(serving.stream({ prompt: "" }).result).rejects.toMatchObject({ code: "input_invalid", details: { field: "prompt" } });
    expect(engine.questions.length).toBe(before);
  });

  it("names the models that are served where the base model is unknown", async () => {
    await using other = new ServingClient({ engine: "vllm", endpoints: [engine.url], baseModel: "qwen" });
    const failing = other.generate({ prompt: "a" });
    await expect(failing).rejects.toMatchObject({
      name: "NotFoundError",
      code: "model_not_found",
      details: { served: ["base", "building@v2"] },
    });
    await expect(failing).rejects.toThrow(/base, building@v2/);
  });
});
