import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("the stand-in engine", () => {
  let engine: StandInEngine;
  beforeEach(async () => {
    engine = await startStandInEngine({ slots: 2, loadTimeMs: 15, hasAdapterFiles: (path) => path !== "missing" });
  });
  afterEach(() => engine.close());

  const post = (path: string, body: object) =>
    fetch(`${engine.url}${path}`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  const load = (id: string, path = `adapters/${id}`) => post("/v1/load_lora_adapter", { lora_name: id, lora_path: path });
  const ask = (model: string) => post("/v1/chat/completions", { model, messages: [{ role: "user", content: "hi" }] });

  it("answers loading and unloading with vLLM's statuses and messages", async () => {
    const loaded = await load("a@v1");
    expect([loaded.status, await loaded.text()]).toEqual([200, "Success: LoRA adapter 'a@v1' added successfully."]);
    const again = await load("a@v1");
    expect(again.status).toBe(400);
    expect(await again.json()).toMatchObject({
      error: { type: "InvalidUserInput", message: expect.stringContaining("has already been loaded") },
    });
    expect((await load("b@v1", "missing")).status).toBe(404);
    expect((await post("/v1/load_lora_adapter", { lora_name: "a" })).status).toBe(400);
    const unloaded = await post("/v1/unload_lora_adapter", { lora_name: "a@v1" });
    expect([unloaded.status, await unloaded.text()]).toEqual([200, "Success: LoRA adapter 'a@v1' removed successfully."]);
    expect((await post("/v1/unload_lora_adapter", { lora_name: "a@v1" })).status).toBe(404);
    const unknown = await ask("a@v1");
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toEqual({
      error: { message: "The model `a@v1` does not exist. Valid aliases: base.", type: "NotFoundError", param: "model", code: 404 },
    });
  });

  it("takes a salt of the prefix cache that is a text, and no other, as vLLM does (A48)", async () => {
    const salted = (cache_salt: unknown) =>
      post("/v1/chat/completions", { model: "base", messages: [{ role: "user", content: "hi" }], cache_salt });
    expect((await salted("salt")).status).toBe(200);
    expect(engine.questions.at(-1)?.body).toMatchObject({ cache_salt: "salt" });
    for (const wrong of ["", 7]) {
      const refused = await salted(wrong);
      expect([refused.status, await refused.json()]).toMatchObject([400, { error: { type: "BadRequestError", param: "cache_salt" } }]);
    }
  });

  it("refuses one adapter more than it holds, as the bundled runtime does", async () => {
    await engine.close();
    engine = await startStandInEngine({ maxAdapters: 2, loadTimeMs: 15 });
    const statuses = await Promise.all(["a@v1", "b@v1", "c@v1"].map(async (id) => (await load(id)).status));
    expect(statuses.sort()).toEqual([200, 200, 400]);
    const refused = await load("d@v1");
    expect(await refused.json()).toMatchObject({
      error: { type: "InvalidUserInput", message: "2 adapters are loaded, which is the limit (--max-adapters); unload one first." },
    });
    await post("/v1/unload_lora_adapter", { lora_name: engine.adapters[0] });
    expect((await load("d@v1")).status).toBe(200);
  });

  it("keeps the most recently used adapters in its slots, and takes its time to bring one in", async () => {
    for (const id of ["a@v1", "b@v1", "c@v1"]) await load(id);
    expect(engine.residentAdapters).toEqual(["b@v1", "c@v1"]);
    expect(engine.adapters).toEqual(["a@v1", "b@v1", "c@v1"]);
    await ask("b@v1");
    expect(engine.adapterLoads).toBe(3);
    const startedAt = performance.now();
    expect((await ask("a@v1")).status).toBe(200);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(14);
    expect(engine.residentAdapters).toEqual(["b@v1", "a@v1"]);
    expect(engine.adapterLoads).toBe(4);
  });

  it("streams in vLLM's events, with usage where it is asked for, and stops where it shall", async () => {
    await engine.close();
    engine = await startStandInEngine({
      answer: () => ({ tokens: ["one", " two", " three END", " four"], logprobs: [-0.1, -0.2, -0.3, -0.4] }),
    });
    const body = { model: "base", messages: [{ role: "user", content: "hi there" }], stream: true, stop: ["END"], logprobs: true };
    const read = async (options: object) => {
      const text = await (await post("/v1/chat/completions", { ...body, ...options })).text();
      const events = text.split("\n\n").filter((event) => event !== "");
      expect(events.at(-1)).toBe("data: [DONE]");
      return events.slice(0, -1).map((event) => JSON.parse(event.slice("data: ".length)));
    };
    const events = await read({ stream_options: { include_usage: true } });
    expect(events.map((event) => event.choices[0]?.delta)).toEqual([
      { role: "assistant", content: "" },
      { content: "one" },
      { content: " two" },
      { content: " three " },
      undefined,
    ]);
    expect(events.map((event) => event.choices[0]?.finish_reason)).toEqual([null, null, null, "stop", undefined]);
    expect(events[2].choices[0].logprobs.content[0]).toMatchObject({ token: " two", logprob: -0.2 });
    expect(events.at(-1).usage).toEqual({ prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 });
    const limited = await read({ max_tokens: 1 });
    expect(limited.at(-1).choices[0]).toMatchObject({ delta: { content: "one" }, finish_reason: "length" });
  });

  it("answers plain completions too", async () => {
    const reply = await post("/v1/completions", { model: "base", prompt: "hi", max_tokens: 8 });
    expect(await reply.json()).toMatchObject({ object: "text_completion", choices: [{ text: "base: hi", finish_reason: "stop" }] });
  });

  it("does a fault as often as it is told, on the paths that it is told, and heals", async () => {
    engine.setFault({ kind: "status", status: 503, times: 1 });
    expect((await fetch(`${engine.url}/v1/models`)).status).toBe(200);
    expect((await ask("base")).status).toBe(503);
    expect((await ask("base")).status).toBe(200);
    engine.setFault({ kind: "reset", path: "/v1/models" });
    await expect(fetch(`${engine.url}/v1/models`)).rejects.toThrow();
    engine.setFault(null);
    expect((await fetch(`${engine.url}/v1/models`)).status).toBe(200);
  });

  it("forgets its adapters when it is restarted, and stays at its port", async () => {
    await load("a@v1");
    engine.restart();
    expect(engine.adapters).toEqual([]);
    expect((await ask("a@v1")).status).toBe(404);
  });
});
