import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

const adapter = { id: "building@v1", path: "adapters/building@v1" };

describe("loading an adapter", () => {
  let engines: StandInEngine[];
  let missingAt: Set<number>;
  let serving: ServingClient;
  beforeEach(async () => {
    missingAt = new Set();
    engines = await Promise.all([0, 1, 2].map((index) => startStandInEngine({ hasAdapterFiles: () => !missingAt.has(index) })));
    serving = new ServingClient({
      engine: "vllm",
      endpoints: engines.map((engine) => engine.url),
      retries: { max: 0 },
      timeouts: { adminMs: 300 },
    });
  });
  afterEach(async () => {
    await serving.close();
    await Promise.all(engines.map((engine) => engine.close()));
  });

  it("reaches every endpoint, and is fine a second time", async () => {
    expect(await serving.loadAdapter(adapter)).toMatchObject({ id: adapter.id, status: "loaded" });
    expect(engines.map((engine) => engine.adapters)).toEqual(Array(3).fill([adapter.id]));
    expect(await serving.loadAdapter(adapter)).toMatchObject({ status: "already_loaded" });
    expect(await serving.listAdapters()).toEqual([{ id: adapter.id, path: adapter.path, endpoints: engines.map((engine) => engine.url) }]);
    for (const { requests } of engines) for (const { body } of requests) expect(body ?? {}).not.toHaveProperty("load_inplace");
  });

  it("is undone everywhere where one endpoint refuses, and the error names that one", async () => {
    missingAt.add(1);
    const failing = serving.loadAdapter(adapter);
    await expect(failing).rejects.toMatchObject({
      code: "adapter_invalid",
      isRetryable: false,
      details: {
        id: adapter.id,
        failed: [{ endpoint: engines[1]!.url, code: "adapter_invalid" }],
        undone: [engines[0]!.url, engines[2]!.url],
      },
    });
    await expect(failing).rejects.toThrow(engines[1]!.url);
    expect(engines.map((engine) => engine.adapters)).toEqual([[], [], []]);
  });

  it("is undone where one endpoint does not answer in time", async () => {
    engines[2]!.setFault({ kind: "slow-headers", path: "/v1/load_lora_adapter" });
    await expect(serving.loadAdapter(adapter)).rejects.toMatchObject({ code: "request_timeout", isRetryable: true });
    expect(engines.map((engine) => engine.adapters)).toEqual([[], [], []]);
  });

  it("leaves what was there before, where another endpoint fails", async () => {
    await using one = new ServingClient({ engine: "vllm", endpoints: [engines[0]!.url] });
    await one.loadAdapter(adapter);
    missingAt.add(1);
    await expect(serving.loadAdapter(adapter)).rejects.toMatchObject({ code: "adapter_invalid" });
    expect(engines.map((engine) => engine.adapters)).toEqual([[adapter.id], [], []]);
  });

  it("is undone where the caller aborts in its middle", async () => {
    engines[2]!.setFault({ kind: "slow-headers", path: "/v1/load_lora_adapter" });
    await using patient = new ServingClient({ engine: "vllm", endpoints: engines.map((engine) => engine.url) });
    const controller = new AbortController();
    const loading = patient.loadAdapter(adapter, { signal: controller.signal });
    const settled = expect(loading).rejects.toMatchObject({ code: "aborted" });
    await vi.waitFor(() => expect(engines.map((engine) => engine.adapters.length)).toEqual([1, 1, 0]));
    controller.abort();
    await settled;
    expect(engines.map((engine) => engine.adapters)).toEqual([[], [], []]);
  });

  it("is tried again where a connection is lost, and does not wait for the line of questions", async () => {
    await using narrow = new ServingClient({ engine: "vllm", endpoints: [engines[0]!.url], maxConcurrency: 1, retries: { minDelayMs: 1 } });
    engines[0]!.setFault([{ kind: "slow-headers" }, { kind: "reset", path: "/v1/load_lora_adapter", times: 1 }]);
    const controller = new AbortController();
    const question = narrow.generate({ prompt: "?" }, { signal: controller.signal });
    question.catch(() => undefined);
    await vi.waitFor(() => expect(engines[0]!.questions.length).toBe(1));
    expect(await narrow.loadAdapter(adapter)).toMatchObject({ status: "loaded" });
    controller.abort();
  });

  it("says what could not be undone", async () => {
    missingAt.add(1);
    engines[0]!.setFault({ kind: "status", status: 500, path: "/v1/unload_lora_adapter" });
    await expect(serving.loadAdapter(adapter)).rejects.toThrow(`could not be taken back from ${engines[0]!.url}`);
  });

  it("under a known id from another folder is refused: names are immutable", async () => {
    await serving.loadAdapter(adapter);
    await expect(serving.loadAdapter({ ...adapter, path: "adapters/other" })).rejects.toMatchObject({ code: "adapter_state_conflict" });
    expect((await serving.listAdapters())[0]?.path).toBe(adapter.path);
  });

  it("by one endpoint alone gives that endpoint's own error", async () => {
    missingAt.add(0);
    await using one = new ServingClient({ engine: "vllm", endpoints: [engines[0]!.url] });
    await expect(one.loadAdapter(adapter)).rejects.toMatchObject({
      name: "ValidationError",
      code: "adapter_invalid",
      message: expect.stringContaining(adapter.path),
    });
    await expect(one.loadAdapter({ id: "", path: "x" })).rejects.toMatchObject({ code: "input_invalid", details: { field: "id" } });
  });

  it("where the engine does not load while it serves names the switch", async () => {
    engines[0]!.setFault({ kind: "status", status: 404, body: { detail: "Not Found" }, path: "/v1/load_lora_adapter" });
    await using one = new ServingClient({ engine: "vllm", endpoints: [engines[0]!.url] });
    await expect(one.loadAdapter(adapter)).rejects.toMatchObject({
      code: "capability_missing",
      message: expect.stringContaining("VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    });
  });

  it("at a generic server finds what is served already, and says so where it is not", async () => {
    await using vllm = new ServingClient({ engine: "vllm", endpoints: [engines[0]!.url] });
    await using generic = new ServingClient({ engine: "openai-compatible", endpoints: [engines[0]!.url] });
    await expect(generic.loadAdapter(adapter)).rejects.toMatchObject({ code: "capability_missing" });
    await vllm.loadAdapter(adapter);
    expect(await generic.loadAdapter(adapter)).toMatchObject({ status: "already_loaded" });
    expect((await generic.generate({ prompt: "?", adapterId: adapter.id })).text).toBe("building@v1: ?");
  });

  it("is undone by unloading, which is fine a second time", async () => {
    await serving.loadAdapter(adapter);
    expect((await serving.unloadAdapter(adapter.id)).endpoints.map(({ status }) => status)).toEqual(Array(3).fill("unloaded"));
    expect((await serving.unloadAdapter(adapter.id)).endpoints.map(({ status }) => status)).toEqual(Array(3).fill("not_loaded"));
    expect(await serving.listAdapters()).toEqual([]);
  });

  it("cannot be listed where an endpoint does not answer: that is an error, not a gap", async () => {
    await engines[1]!.close();
    await expect(serving.listAdapters()).rejects.toMatchObject({
      code: "engine_unavailable",
      details: { failed: [{ endpoint: engines[1]!.url }] },
    });
  });
});

describe("an engine that was restarted", () => {
  let engine: StandInEngine;
  beforeEach(async () => {
    engine = await startStandInEngine({ loadTimeMs: 20 });
  });
  afterEach(() => engine.close());

  it("gets its adapter again, once for all calls at the same time, and every call is answered", async () => {
    const getAdapter = vi.fn(async (id: string) => ({ id, path: adapter.path }));
    await using serving = new ServingClient({
      engine: "vllm",
      endpoints: [engine.url],
      adapters: { getAdapter },
      retries: { minDelayMs: 1 },
    });
    await serving.loadAdapter(adapter);
    engine.restart();
    const replies = await Promise.all([
      ...Array.from({ length: 8 }, (_, index) => serving.generate({ prompt: `${index}`, adapterId: adapter.id })),
      serving.stream({ prompt: "8", adapterId: adapter.id }).result,
    ]);
    expect(replies.map((reply) => reply.text)).toEqual(replies.map((_, index) => `building@v1: ${index}`));
    expect(engine.adapters).toEqual([adapter.id]);
    const loads = engine.requests.filter((request) => request.path === "/v1/load_lora_adapter");
    expect(loads.length).toBe(2);
    expect(loads[1]!.body).toEqual({ lora_name: adapter.id, lora_path: adapter.path });
  });

  it("is asked once more only: an adapter that goes again is an error", async () => {
    await using serving = new ServingClient({
      engine: "vllm",
      endpoints: [engine.url],
      adapters: { getAdapter: async (id) => ({ id, path: "p" }) },
    });
    engine.setFault({
      kind: "status",
      status: 404,
      body: { error: { message: "The model `building@v1` does not exist.", param: "model", code: 404 } },
    });
    await expect(serving.generate({ prompt: "?", adapterId: adapter.id })).rejects.toMatchObject({ details: { status: 404 } });
    const calls = engine.requests.map((request) => request.path).filter((path) => /completions|load/.test(path));
    const [load, ask] = ["/v1/load_lora_adapter", "/v1/chat/completions"];
    expect(calls).toEqual([load, ask, load, ask]);
  });

  it("whose adapter nobody knows is an error that says how to load it", async () => {
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    await expect(serving.generate({ prompt: "?", adapterId: "gone@v1" })).rejects.toMatchObject({
      name: "NotFoundError",
      code: "adapter_not_found",
      message: expect.stringContaining("loadAdapter"),
    });
  });
});
