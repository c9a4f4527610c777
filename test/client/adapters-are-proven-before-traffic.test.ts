import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { seededRandom } from "../../src/support/seeded-random.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import { answersOf, gaussian, identityOf, scoredAnswer } from "./support/scored-weights.js";

const path = (id: string) => `adapters/${id}`;

describe("an adapter whose trainer left a fingerprint", () => {
  /** What lies in the folder, or what the engine makes of it; default: what was trained. */
  let weightsAt: ((path: string | null, engine: number) => string) | undefined;
  let engines: StandInEngine[];
  let serving: ServingClient;

  const trained = (folder: string | null) => (folder === null ? "base" : folder.replace("adapters/", ""));
  const directory = {
    getAdapter: async (id: string) => ({ id, path: path(id) }),
    adapterIdentity: async (id: string) => identityOf(id),
  };
  const client = (options: Partial<ServingClientOptions> = {}) =>
    new ServingClient({ engine: "vllm", endpoints: engines.map(({ url }) => url), adapters: directory, retries: { max: 0 }, ...options });
  const load = (id: string, predecessorId?: string) => serving.loadAdapter({ id, path: path(id), predecessorId });

  beforeEach(async () => {
    weightsAt = undefined;
    engines = await Promise.all(
      [0, 1, 2].map((index) => startStandInEngine({ answer: answersOf((folder) => (weightsAt ?? trained)(folder, index)) })),
    );
    serving = client();
  });
  afterEach(async () => {
    await serving.close();
    await Promise.all(engines.map((engine) => engine.close()));
  });

  it("is shown by every endpoint, told apart from what serves now, and then answers", async () => {
    await load("office@v1");
    const { endpoints } = await load("office@v2", "office@v1");
    expect(endpoints.map(({ proof }) => proof)).toEqual(
      engines.map(({ url }) =>
        expect.objectContaining({
          adapterId: "office@v2",
          endpoint: url,
          status: "proven",
          predecessorId: "office@v1",
          prompts: 8,
          problems: [],
        }),
      ),
    );
    for (const { proof } of endpoints) {
      expect(proof!.difference!).toBeLessThan(1e-6);
      expect(proof!.fromPredecessor!).toBeGreaterThan(2 * proof!.tolerance!);
    }
    const reply = await serving.generate({ prompt: "Where?", adapterId: "office@v2" });
    expect(reply.text).toBe(scoredAnswer("office@v2", "Where?").tokens.join(""));
    expect(serving.endpoints().map(({ adapters }) => adapters.map(({ id }) => id))).toEqual(Array(3).fill(["office@v1", "office@v2"]));
  });

  it.each([
    ["that does nothing: the engine goes on answering as the base", () => "base", /does not serve it/],
    ["whose folder holds the weights of before", () => "office@v1", /does not serve it/],
    ["that is another version than the name says", () => "office@v3", /does not serve it/],
  ])("%s is caught before it answers, on one of three endpoints, and none keeps it", async (_fault, weights, message) => {
    weightsAt = (folder, engine) => (engine === 1 && folder === path("office@v2") ? weights() : trained(folder));
    const failing = load("office@v2");
    await expect(failing).rejects.toMatchObject({
      code: "adapter_unproven",
      isRetryable: false,
      message: expect.stringMatching(message),
      details: { failed: [{ endpoint: engines[1]!.url, code: "adapter_unproven" }] },
    });
    expect(engines.map(({ adapters }) => adapters)).toEqual([[], [], []]);
  });

  it("on an engine with another base model is refused, and the base is named", async () => {
    weightsAt = (folder, engine) => (folder === null && engine === 2 ? "another base" : trained(folder));
    await expect(load("office@v1")).rejects.toMatchObject({
      code: "adapter_unproven",
      message: expect.stringMatching(/another base model/),
    });
  });

  it("that one endpoint failed to load serves at none", async () => {
    engines[0]!.setFault({ kind: "status", status: 500, path: "/v1/load_lora_adapter" });
    await expect(load("office@v1")).rejects.toMatchObject({ details: { failed: [{ endpoint: engines[0]!.url }] } });
    expect(engines.map(({ adapters }) => adapters)).toEqual([[], [], []]);
  });

  it("whose endpoint was restarted is loaded and shown again before it answers there", async () => {
    await load("office@v1");
    for (const engine of engines) engine.restart();
    const replies = await Promise.all(Array.from({ length: 12 }, () => serving.generate({ prompt: "Where?", adapterId: "office@v1" })));
    for (const { text } of replies) expect(text).toBe(scoredAnswer("office@v1", "Where?").tokens.join(""));
    const proofs = engines.map(({ questions }) => questions.filter(({ text }) => text.includes("Canary")).length);
    for (const count of proofs) expect(count).toBeGreaterThanOrEqual(2 * 8 * 4);
  });

  it("whose endpoint was restarted with other weights under its name answers nothing wrong, whole or streamed", async () => {
    await using one = client({ endpoints: [engines[0]!.url], health: { intervalMs: 0 } });
    await one.loadAdapter({ id: "office@v1", path: path("office@v1") });
    weightsAt = (folder) => (folder === "stale" ? "office@v0" : trained(folder));
    // longer than the time within which no process can have started
    await new Promise((resolve) => setTimeout(resolve, 600));
    engines[0]!.restart({ adapters: [{ id: "office@v1", path: "stale" }] });
    const right = scoredAnswer("office@v1", "Where?").tokens.join("");
    for (const ask of [
      () => one.generate({ prompt: "Where?", adapterId: "office@v1" }),
      () => one.stream({ prompt: "Where?", adapterId: "office@v1" }).result,
    ]) {
      const answer = await ask().then(
        ({ text }) => text,
        (error: { code: string }) => error.code,
      );
      expect([right, "adapter_state_conflict", "adapter_unproven", "engine_unavailable"]).toContain(answer);
      expect(answer).not.toBe(scoredAnswer("office@v0", "Where?").tokens.join(""));
    }
  });

  it("is shown again by a restarted endpoint before anybody asks, where the health watch looks", async () => {
    await using watching = client({ endpoints: [engines[0]!.url], health: { intervalMs: 50 } });
    await watching.loadAdapter({ id: "office@v1", path: path("office@v1") });
    await new Promise((resolve) => setTimeout(resolve, 600));
    engines[0]!.restart();
    await vi.waitFor(() => expect(engines[0]!.adapters).toEqual(["office@v1"]));
    await vi.waitFor(() =>
      expect(watching.endpoints()[0]!.adapters.map(({ id, proof }) => [id, proof?.status])).toEqual([["office@v1", "proven"]]),
    );
    expect(engines[0]!.questions.filter(({ text }) => text.includes("Canary")).length).toBe(2 * 2 * 8 * 2);
  });

  it("is verified on demand, and a wrong one is reported, not thrown", async () => {
    await load("office@v1");
    weightsAt = (folder, engine) => (engine === 1 && folder !== null ? "base" : trained(folder));
    const proofs = await serving.verifyAdapter("office@v1");
    expect(proofs.map(({ status }) => status)).toEqual(["proven", "failed", "proven"]);
  });

  it("with a larger rank than the engine says it serves is not even tried", async () => {
    const identity = { ...identityOf("office@v1"), rank: 512 };
    const card = { id: "base", root: "base", parent: null, max_lora_rank: 16, instance: "one" };
    engines[0]!.setFault({ kind: "status", status: 200, body: { object: "list", data: [card] }, path: "/v1/models" });
    await using one = client({ endpoints: [engines[0]!.url] });
    await expect(one.loadAdapter({ id: "office@v1", path: "p", identity })).rejects.toMatchObject({
      code: "adapter_invalid",
      message: expect.stringMatching(/rank 512.*up to 16/),
    });
    expect(engines[0]!.requests.map((request) => request.path)).not.toContain("/v1/load_lora_adapter");
  });

  it("is asked for only where one is required, and taken as it is otherwise", async () => {
    const unknown = { getAdapter: directory.getAdapter, adapterIdentity: async () => null };
    await using lenient = client({ adapters: unknown });
    const { endpoints } = await lenient.loadAdapter({ id: "old@v1", path: path("old@v1") });
    expect(endpoints.map(({ proof }) => proof?.status)).toEqual(Array(3).fill("unrecorded"));
    await lenient.unloadAdapter("old@v1");
    await using strict = client({ adapters: unknown, proof: { mode: "required" } });
    await expect(strict.loadAdapter({ id: "old@v1", path: path("old@v1") })).rejects.toMatchObject({ code: "adapter_unproven" });
  });
});

describe("with noise in every log-probability", () => {
  it.each([
    [0.001, 50],
    [0.02, 1_000],
    [0.1, 50],
  ] as const)(
    "of %f nats, %i healthy adapters raise no alarm, and a tenth as many wrong ones all do",
    { timeout: 600_000 },
    async (sigma, healthy) => {
      const random = seededRandom(7);
      let spoilt = "";
      await using engine = await startStandInEngine({
        slots: 2_000,
        answer: answersOf(
          (folder) => (folder === null ? "base" : folder === path(spoilt) ? "base" : folder.replace("adapters/", "")),
          () => sigma * gaussian(random),
        ),
      });
      await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url], health: { intervalMs: 0 }, maxConcurrency: 64 });
      const activate = async (id: string) => {
        const { endpoints } = await serving.loadAdapter({ id, path: path(id), identity: identityOf(id) });
        await serving.unloadAdapter(id);
        return endpoints[0]!.proof!;
      };
      const alarms: string[] = [];
      for (let count = 0; count < healthy; count += 1) {
        await activate(`a${count}@v1`).catch((error: Error) => alarms.push(error.message));
      }
      expect(alarms).toEqual([]);
      const caught: string[] = [];
      for (let count = 0; count < healthy / 10; count += 1) {
        spoilt = `b${count}@v1`;
        await activate(spoilt).catch((error: { code: string }) => caught.push(error.code));
      }
      expect(caught).toEqual(Array(healthy / 10).fill("adapter_unproven"));
    },
  );
});
