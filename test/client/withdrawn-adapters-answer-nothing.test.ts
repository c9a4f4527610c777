import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { ConflictError, StorageError } from "../../src/errors.js";
import { AdapterRouter, MemoryAdapterRegistry } from "../../src/router/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

const id = "building@v1";

describe("a request that pins an adapter", () => {
  let engine: StandInEngine;
  let registry: MemoryAdapterRegistry;
  let router: AdapterRouter;
  /** Of another process, over the same registry. */
  let elsewhere: AdapterRouter;
  let serving: ServingClient;

  beforeEach(async () => {
    engine = await startStandInEngine();
    registry = new MemoryAdapterRegistry();
    router = new AdapterRouter({ registry });
    elsewhere = new AdapterRouter({ registry });
    serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], router, adapters: router });
    await router.registerAdapter({ name: "building", domain: "building", path: "adapters/building@v1", baseModel: "base" });
    await router.activateAdapter(id);
    expect(await serving.generate({ prompt: "?", adapterId: id })).toMatchObject({ text: `${id}: ?` });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    await Promise.all([serving.close(), router.close(), elsewhere.close()]);
    await engine.close();
  });

  const refusal = { code: "adapter_state_conflict", isRetryable: false, details: { id, reason: "erasure of a subject" } };
  /** Asks in every way, and asks the engine nothing. */
  async function expectRefused(): Promise<void> {
    expect(engine.adapters).toEqual([id]);
    const asked = engine.questions.length;
    const failure = await serving.generate({ prompt: "?", adapterId: id }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConflictError);
    expect(failure).toMatchObject({ ...refusal, message: expect.stringMatching(/building@v1.*erasure of a subject.*another version/) });
    await expect(serving.stream({ prompt: "?", adapterId: id }).result).rejects.toMatchObject(refusal);
    const response = await serving.chatCompletions({ model: id, messages: [{ role: "user", content: "?" }] });
    expect([response.status, await response.json()]).toMatchObject([409, { error: { code: "adapter_state_conflict" } }]);
    expect(engine.questions.length).toBe(asked);
  }

  it.each(["withdrawAdapter", "rejectAdapter"] as const)("is refused at once after %s, though the engine has it loaded", async (revoke) => {
    await router[revoke](id, "erasure of a subject");
    await expectRefused();
    expect(await serving.generate({ prompt: "?" })).toMatchObject({ text: "base: ?" });
  });

  it("is refused within 5 s after another process withdrew it", async () => {
    await elsewhere.withdrawAdapter(id, "erasure of a subject");
    const now = performance.now();
    vi.spyOn(performance, "now").mockReturnValue(now + 5_000);
    await expectRefused();
  });

  it("is refused from the refresh on that follows the commit of its withdrawal", async () => {
    await registry.revoke(id, "retired", "erasure of a subject");
    await router.refresh();
    await expectRefused();
  });

  it("asks the registry once for many, at once or one after the other", async () => {
    await router.refresh();
    const get = vi.spyOn(registry, "get");
    await Promise.all(Array.from({ length: 20 }, () => serving.generate({ prompt: "?", adapterId: id })));
    for (let turn = 0; turn < 20; turn += 1) await serving.generate({ prompt: "?", adapterId: id });
    expect(get).toHaveBeenCalledTimes(1);
  });

  it("is answered where nobody registered the adapter, which was loaded by hand", async () => {
    await serving.loadAdapter({ id: "manual@v1", path: "adapters/manual@v1" });
    expect(await serving.generate({ prompt: "?", adapterId: "manual@v1" })).toMatchObject({ text: "manual@v1: ?" });
  });

  it("fails where the registry cannot be asked, and not any longer than that", async () => {
    await router.refresh();
    vi.spyOn(registry, "get").mockRejectedValueOnce(new StorageError("store_unavailable", "The database is away."));
    await expect(serving.generate({ prompt: "?", adapterId: id })).rejects.toMatchObject({ code: "store_unavailable" });
    expect(await serving.generate({ prompt: "?", adapterId: id })).toMatchObject({ text: `${id}: ?` });
  });

  it("does not wait for a registry that hangs after its caller has left", async () => {
    await router.refresh();
    vi.spyOn(registry, "get").mockReturnValueOnce(new Promise(() => undefined));
    const controller = new AbortController();
    const reply = serving.generate({ prompt: "?", adapterId: id }, { signal: controller.signal });
    controller.abort();
    await expect(reply).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("an adapter that another process withdrew and unloaded", () => {
  let engine: StandInEngine;
  let registry: MemoryAdapterRegistry;
  let router: AdapterRouter;
  let serving: ServingClient;

  beforeEach(async () => {
    engine = await startStandInEngine();
    registry = new MemoryAdapterRegistry();
    // notices nothing by itself while these tests run
    router = new AdapterRouter({ registry, refreshIntervalMs: 0 });
    const adapters = { getAdapter: (one: string) => router.getAdapter(one) };
    serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], router, adapters, health: { intervalMs: 20 } });
    for (const domain of ["building", "office"]) {
      await router.registerAdapter({ name: domain, domain, path: `adapters/${domain}@v1`, baseModel: "base" });
      await router.activateAdapter(`${domain}@v1`);
      expect(await serving.generate({ prompt: "?", domain })).toMatchObject({ adapterId: `${domain}@v1` });
    }
    await registry.revoke(id, "retired", "erasure of a subject");
  });
  afterEach(async () => {
    await Promise.all([serving.close(), router.close()]);
    await engine.close();
  });

  async function unloadElsewhere(): Promise<void> {
    await using elsewhere = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    await elsewhere.unloadAdapter(id);
  }

  it("is not loaded again for the router's old choice: the base model answers, whole and streamed", async () => {
    await unloadElsewhere();
    expect(await serving.generate({ prompt: "?", domain: "building" })).toMatchObject({ text: "base: ?", adapterId: null, model: "base" });
    const stream = serving.stream({ prompt: "?", domain: "building" });
    let text = "";
    for await (const chunk of stream) text += chunk.text;
    expect([text, (await stream.result).adapterId]).toEqual(["base: ?", null]);
    expect(engine.adapters).toEqual(["office@v1"]);
  });

  it("is not loaded again for a pin, and not ahead of questions", async () => {
    await unloadElsewhere();
    const refusal = { code: "adapter_state_conflict", details: { id, reason: "erasure of a subject" } };
    await expect(serving.generate({ prompt: "?", adapterId: id })).rejects.toMatchObject(refusal);
    expect(await serving.prewarm([id])).toMatchObject([{ id, error: refusal }]);
    expect(engine.adapters).toEqual(["office@v1"]);
  });

  it("is not loaded again into a restarted engine, which gets the others back", async () => {
    engine.restart();
    await vi.waitFor(() => expect(engine.adapters).toEqual(["office@v1"]));
    expect(serving.endpoints()[0]!.adapters.map((adapter) => adapter.id)).toEqual(["office@v1"]);
  });
});
