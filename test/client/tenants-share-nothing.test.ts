import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { startStandInEngine, startStandInOllama } from "../../src/testing/index.js";

const SALT = createHash("sha256").update("ulm").digest("hex");
const metadata = { tenant: "ulm" };

describe("a tenant's request", () => {
  it("carries its salt to vLLM, whole, streamed and in OpenAI's shape, and the caller's own goes nowhere (A48)", async () => {
    await using engine = await startStandInEngine();
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    const messages = [{ role: "user", content: "Hello" }];
    await serving.generate({ prompt: "Hello", metadata });
    await serving.stream({ prompt: "Hello", metadata }).result;
    await serving.chatCompletions({ messages, cache_salt: "mine" }, { metadata });
    await serving.chatCompletions({ messages, cache_salt: "mine" });
    await serving.generate({ prompt: "Hello" });
    const salts = engine.questions.map(({ body }) => (body as { cache_salt?: string }).cache_salt);
    expect(salts).toEqual([SALT, SALT, SALT, undefined, undefined]);
  });

  it("carries none to other engines (A48)", async () => {
    await using engine = await startStandInEngine();
    await using other = new ServingClient({ engine: "openai-compatible", endpoints: [engine.url] });
    await other.generate({ prompt: "Hello", metadata });
    await other.chatCompletions({ messages: [{ role: "user", content: "Hello" }], cache_salt: "mine" }, { metadata });
    await using ollama = await startStandInOllama();
    await using third = new ServingClient({ engine: "ollama", endpoints: [ollama.url], baseModel: "base" });
    await third.generate({ prompt: "Hello", metadata });
    const bodies = [...engine.questions, ...ollama.requests].map(({ body }) => JSON.stringify(body ?? null));
    expect(bodies.length).toBeGreaterThan(2);
    expect(bodies.filter((body) => body.includes("salt"))).toEqual([]);
  });

  it("finds another tenant's adapter no more than one that is not there, without asking anybody (A42)", async () => {
    await using engine = await startStandInEngine();
    const asked: string[] = [];
    const adapters = {
      getAdapter: async (id: string) => ({ id, path: `adapters/${id}` }),
      revokedReason: async (id: string) => {
        asked.push(id);
        return null;
      },
    };
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], adapters });
    for (const request of [
      { prompt: "Hello", adapterId: "bonn--building@v3", metadata },
      { prompt: "Hello", adapterId: "ulm--building@v3" },
    ]) {
      await expect(serving.generate(request)).rejects.toMatchObject({
        code: "adapter_not_found",
        message: `No adapter ${request.adapterId} is registered. List them with listAdapters().`,
      });
    }
    const response = await serving.chatCompletions(
      { model: "bonn--building@v3", messages: [{ role: "user", content: "Hello" }] },
      { metadata },
    );
    expect(response.status).toBe(404);
    expect([asked, engine.requests]).toEqual([[], []]);
    expect((await serving.generate({ prompt: "Hello", adapterId: "ulm--building@v3", metadata })).adapterId).toBe("ulm--building@v3");
  });

  it("names no other tenant's domain, and tells the router whose it is (A42)", async () => {
    await using engine = await startStandInEngine();
    const routed: unknown[] = [];
    const router = {
      route: async (_: unknown, { domain, tenant }: { domain?: string; tenant?: string }) => {
        routed.push({ domain, tenant });
        return { id: "d", adapterId: null, confidence: 1, strategy: "default" as const, candidates: [], propensity: 1 };
      },
    };
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], router });
    await expect(serving.generate({ prompt: "Hello", domain: "bonn--building", metadata })).rejects.toMatchObject({
      code: "input_invalid",
      details: { field: "domain" },
    });
    await serving.generate({ prompt: "Hello", domain: "building", metadata });
    await serving.generate({ prompt: "Hello" });
    expect(routed).toEqual([
      { domain: "building", tenant: "ulm" },
      { domain: undefined, tenant: undefined },
    ]);
  });
});
