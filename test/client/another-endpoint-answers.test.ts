import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { ClaraError, RuntimeUnavailableError } from "../../src/errors.js";
import { type StandInEngine, type StandInFault, startStandInEngine } from "../../src/testing/index.js";
import type { Endpoint, EndpointProvider } from "../../src/types/common.js";

/** A port where nobody listens. */
async function closedPort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

describe("with two endpoints", () => {
  let first: StandInEngine;
  let second: StandInEngine;
  let serving: ServingClient;
  beforeEach(async () => {
    first = await startStandInEngine();
    second = await startStandInEngine();
    serving = new ServingClient({
      engine: "vllm",
      endpoints: [first.url, second.url],
      retries: { max: 0 },
      timeouts: { headersMs: 200, firstTokenMs: 200, healthMs: 200 },
    });
  });
  afterEach(async () => {
    await serving.close();
    await Promise.all([first.close(), second.close()]);
  });

  const counts = () =>
    [first, second].map((engine) => engine.questions.filter((request) => request.path === "/v1/chat/completions").length);

  it("healthy ones take turns", async () => {
    await using patient = new ServingClient({ engine: "vllm", endpoints: [first.url, second.url] });
    for (let turn = 0; turn < 6; turn += 1) await patient.generate({ prompt: "?" });
    expect(counts()).toEqual([3, 3]);
  });

  it.each([
    [{ kind: "reset" }],
    [{ kind: "status", status: 429, retryAfter: "1" }],
    [{ kind: "status", status: 503 }],
    [{ kind: "slow-headers" }],
    [{ kind: "half-open" }],
    [{ kind: "stall" }],
  ] as [StandInFault][])("%j of one is answered by the other, without a retry, and the ill one is spared for a while", async (fault) => {
    first.setFault(fault);
    for (let turn = 0; turn < 4; turn += 1) {
      const result = await serving.stream({ prompt: "?" }).result;
      expect(result).toMatchObject({ text: "base: ?", endpoint: second.url });
    }
    expect(counts()[0]).toBeLessThanOrEqual(1);
    expect(counts()[1]).toBe(4);
  });

  it("a request that is wrong anywhere is not tried elsewhere", async () => {
    for (const engine of [first, second]) engine.setFault({ kind: "status", status: 400 });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_error" });
    expect(counts()[0]! + counts()[1]!).toBe(1);
  });

  it("health tells each one's state, and an ill one does not hide the other", async () => {
    second.setFault({ kind: "slow-headers", path: "/health" });
    const [one, two] = await serving.health();
    expect(one).toMatchObject({ endpoint: first.url, ok: true });
    expect(one!.latencyMs).toBeGreaterThan(0);
    expect(two).toMatchObject({ endpoint: second.url, ok: false, error: { code: "request_timeout" } });
  });

  it("one that serves another base model gets no question, and operators see why", async () => {
    await using stranger = await startStandInEngine({ baseModel: "another" });
    const warnings: object[] = [];
    const logger = { debug() {}, info() {}, warn: (data: object) => warnings.push(data), error() {} };
    await using mixed = new ServingClient({ engine: "vllm", endpoints: [first.url, stranger.url], logger, health: { intervalMs: 20 } });
    for (let turn = 0; turn < 4; turn += 1) expect((await mixed.generate({ prompt: "?" })).endpoint).toBe(first.url);
    const why = { code: "model_not_found", message: expect.stringMatching(/does not serve the model base. It serves: another/) };
    expect(await mixed.health()).toMatchObject([{ ok: true }, { ok: false, error: why }]);
    expect(mixed.endpoints()).toMatchObject([
      { circuit: "closed", lastError: null },
      { circuit: expect.stringMatching(/open/), lastError: why },
    ]);
    // the health watch goes on looking, and tells it once
    const looks = () => stranger.requests.filter(({ path }) => path === "/health").length;
    const before = looks();
    await vi.waitFor(() => expect(looks()).toBeGreaterThan(before + 2));
    expect(warnings).toMatchObject([{ endpoint: stranger.url, code: "model_not_found" }]);
    expect(stranger.questions).toEqual([]);
  });

  it("health is told also while every slot is taken", async () => {
    await using narrow = new ServingClient({ engine: "vllm", endpoints: [first.url], maxConcurrency: 1 });
    first.setFault({ kind: "slow-headers" });
    const controller = new AbortController();
    const running = narrow.generate({ prompt: "?" }, { signal: controller.signal });
    running.catch(() => undefined);
    await vi.waitFor(() => expect(counts()[0]).toBe(1));
    expect(await narrow.health()).toMatchObject([{ ok: true }]);
    controller.abort();
  });
});

describe("where nobody answers", () => {
  it.each([
    ["vllm", "engine_unavailable", /vllm serve MODEL --served-model-name base --enable-lora/],
    ["runtime", "runtime_unavailable", /clara runtime up/],
    ["ollama", "engine_unavailable", /ollama serve/],
    ["openai-compatible", "engine_unavailable", /start your inference server/],
  ] as const)("an engine of kind %s: the error says what to start, with the cause", async (engine, code, hint) => {
    const url = await closedPort();
    await using serving = new ServingClient({ engine, endpoints: [url], retries: { max: 0 } });
    const error = await serving.generate({ prompt: "?" }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RuntimeUnavailableError);
    expect(error).toMatchObject({ code, isRetryable: true, cause: { code: "ECONNREFUSED" } });
    expect((error as Error).message).toContain(url);
    expect((error as Error).message).toMatch(hint);
    expect(await serving.health()).toMatchObject([{ endpoint: url, ok: false, error: { code } }]);
  });

  it("the error of an endpoint provider comes out as it is, another one's with what to start", async () => {
    const own = new RuntimeUnavailableError("runtime_not_installed", "Run clara runtime install.", { isRetryable: false });
    const failing = (error: Error): EndpointProvider => ({ name: "local runtime", resolve: () => Promise.reject(error) });
    await using typed = new ServingClient({ engine: "runtime", endpoints: [failing(own)] });
    await expect(typed.generate({ prompt: "?" })).rejects.toBe(own);
    await using untyped = new ServingClient({ engine: "runtime", endpoints: [failing(new Error("no such file"))], retries: { max: 0 } });
    const error = await untyped.generate({ prompt: "?" }).catch((reason: unknown) => reason);
    expect(ClaraError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({
      code: "runtime_unavailable",
      message: expect.stringMatching(/local runtime.*no such file.*clara runtime up/),
      cause: { message: "no such file" },
    });
  });

  it("health is told in time also where a provider takes forever", async () => {
    const provider: EndpointProvider = {
      name: "slow runtime",
      resolve: ({ signal } = {}) => new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
    };
    await using serving = new ServingClient({ engine: "runtime", endpoints: [provider], timeouts: { healthMs: 100 } });
    expect(await serving.health()).toMatchObject([{ endpoint: "slow runtime", ok: false, error: { code: "request_timeout" } }]);
  });

  it("a provider is asked before each call, so that a process that moved is found again", async () => {
    const old = await startStandInEngine();
    const moved = await startStandInEngine({ token: "secret" });
    let address: Endpoint = { url: old.url };
    await using serving = new ServingClient({ engine: "runtime", endpoints: [{ name: "local runtime", resolve: async () => address }] });
    expect((await serving.generate({ prompt: "?" })).endpoint).toBe(old.url);
    await old.close();
    address = { url: moved.url, token: "secret" };
    expect((await serving.generate({ prompt: "?" })).endpoint).toBe(moved.url);
    await moved.close();
  });
});
