import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { NotFoundError } from "../../src/errors.js";
import { type RecordedRequest, type StandInEngine, startStandInEngine } from "../../src/testing/index.js";
import { answersOf, identityOf } from "./support/scored-weights.js";

const nameOf = ({ body }: RecordedRequest) =>
  (body as { model?: string; lora_name?: string }).lora_name ?? (body as { model: string }).model;

/** Unloading while a question for the adapter ran, by the times at which the engine saw both. */
function brokenOff({ requests, questions }: StandInEngine): string[] {
  const unloads = requests.filter(({ path }) => path === "/v1/unload_lora_adapter");
  return unloads
    .filter((unload) =>
      questions.some(
        (question) =>
          nameOf(question) === nameOf(unload) &&
          question.receivedAt < unload.receivedAt &&
          (question.endedAt ?? Infinity) > unload.receivedAt,
      ),
    )
    .map(nameOf);
}

describe("an engine that holds two adapters at once", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  let release: Map<string, PromiseWithResolvers<void>>;

  const getAdapter = async (id: string) => {
    if (id.startsWith("manual")) throw new NotFoundError("adapter_not_found", `No adapter ${id}.`);
    return { id, path: `adapters/${id}` };
  };
  const client = (options: Partial<ServingClientOptions> = {}) =>
    new ServingClient({ engine: "vllm", endpoints: [engine.url], retries: { max: 0 }, adapters: { getAdapter }, ...options });
  const ask = async (id: string, prompt = "?") => (await serving.generate({ prompt, adapterId: id })).text;
  const load = (id: string, by = serving) => by.loadAdapter({ id, path: `adapters/${id}` });
  /** A question that runs until its adapter is released. */
  const hold = async (id: string): Promise<{ answer: Promise<string> }> => {
    release.set(id, Promise.withResolvers());
    const answer = ask(id, "wait");
    await vi.waitFor(() => expect(engine.questions.some((one) => one.state === "open" && nameOf(one) === id)).toBe(true));
    return { answer };
  };
  const answersTo = (held: { answer: Promise<string> }[]) => Promise.all(held.map(({ answer }) => answer));

  beforeEach(async () => {
    release = new Map();
    engine = await startStandInEngine({
      maxAdapters: 2,
      loadTimeMs: 5,
      answer: async ({ adapter, text }) => {
        if (text === "wait") await release.get(adapter!.id)!.promise;
        return adapter!.id;
      },
    });
    serving = client();
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  it("lets go of the one that was asked for longest ago, which comes back when it is asked for", async () => {
    for (const id of ["a@v1", "b@v1", "a@v1", "c@v1"]) expect(await ask(id)).toBe(id);
    expect(engine.adapters).toEqual(["a@v1", "c@v1"]);
    expect(await ask("b@v1")).toBe("b@v1");
    expect(engine.adapters).toEqual(["c@v1", "b@v1"]);
  });

  it("makes room for a new version that is loaded before traffic, too", async () => {
    for (const id of ["a@v1", "b@v1"]) await ask(id);
    expect(await load("b@v2")).toMatchObject({ status: "loaded" });
    expect(engine.adapters).toEqual(["b@v1", "b@v2"]);
    expect(await serving.prewarm(["a@v1", "b@v1", "b@v2"])).toEqual([]);
    expect(engine.adapters).toEqual(["b@v1", "b@v2"]);
  });

  it("keeps the one that answers, though it was asked for longest ago", async () => {
    await ask("a@v1");
    const { answer } = await hold("a@v1");
    await ask("b@v1");
    expect(await ask("c@v1")).toBe("c@v1");
    expect(engine.adapters).toEqual(["a@v1", "c@v1"]);
    release.get("a@v1")!.resolve();
    expect(await answer).toBe("a@v1");
  });

  it.each([
    ["a question for a third", () => ask("c@v1")],
    ["loading a third", async () => (await load("c@v1")).id],
  ])("where both answer, %s waits until one of them is through", async (_name, third) => {
    const held = [await hold("a@v1"), await hold("b@v1")];
    const waiting = third();
    await vi.waitFor(() => expect(serving.endpoints()[0]!.load).toBeGreaterThanOrEqual(3));
    expect(engine.adapters).toEqual(["a@v1", "b@v1"]);
    release.get("b@v1")!.resolve();
    expect(await waiting).toBe("c@v1");
    expect(engine.adapters).toEqual(["a@v1", "c@v1"]);
    release.get("a@v1")!.resolve();
    expect(await answersTo(held)).toEqual(["a@v1", "b@v1"]);
    expect(brokenOff(engine)).toEqual([]);
  });

  it("swaps under traffic for five, and breaks no answer off", { timeout: 120_000 }, async () => {
    const ids = ["a@v1", "b@v1", "c@v1", "d@v1", "e@v1"];
    const asked = Array.from({ length: 120 }, (_, index) => ids[(index * 7 + Math.floor(index / 5)) % ids.length]!);
    const outcomes = await serving.generateBatch(
      asked.map((adapterId) => ({ prompt: "?", adapterId })),
      { concurrency: 24 },
    );
    expect(outcomes.map((one) => (one.status === "fulfilled" ? one.value.text : one.reason.message))).toEqual(asked);
    // none was asked of the engine while its adapter was away
    expect(engine.questions.length).toBe(asked.length);
    expect(engine.adapters.length).toBeLessThanOrEqual(2);
    expect(brokenOff(engine)).toEqual([]);
  });

  it("has what it loads proven in peace, though others want its place", { timeout: 120_000 }, async () => {
    await engine.close();
    engine = await startStandInEngine({ maxAdapters: 2, answer: answersOf((path) => path?.replace("adapters/", "") ?? "base") });
    await using proving = client({ adapters: { getAdapter, adapterIdentity: async (id) => identityOf(id) } });
    const ids = ["a@v1", "b@v1", "c@v1", "d@v1"];
    const loads = ids.map(async (id) => (await load(id, proving)).endpoints[0]!.proof?.status);
    const questions = ids.map(async (id) => (await proving.generate({ prompt: "?", adapterId: id })).model);
    expect(await Promise.all([...loads, ...questions])).toEqual([...ids.map(() => "proven"), ...ids]);
    expect(brokenOff(engine)).toEqual([]);
  });

  it("keeps what nobody could load again, and says that it is full", async () => {
    for (const id of ["manual-a@v1", "manual-b@v1"]) await load(id);
    await expect(ask("c@v1")).rejects.toMatchObject({ code: "engine_error", message: expect.stringContaining("--max-adapters") });
    await serving.unloadAdapter("manual-a@v1");
    for (const id of ["c@v1", "d@v1"]) expect(await ask(id)).toBe(id);
    expect(engine.adapters).toEqual(["manual-b@v1", "d@v1"]);
  });

  it("is left to who has no directory of adapters: what goes would not come back", async () => {
    await using plain = client({ adapters: undefined });
    for (const id of ["a@v1", "b@v1"]) await load(id, plain);
    await expect(load("c@v1", plain)).rejects.toMatchObject({ code: "engine_error", message: expect.stringContaining("unload one first") });
    expect(engine.adapters).toEqual(["a@v1", "b@v1"]);
  });

  it("ends a wait for room by its time limit, and by its caller", async () => {
    await serving.close();
    serving = client({ timeouts: { adminMs: 300 } });
    const held = [await hold("a@v1"), await hold("b@v1")];
    await expect(load("c@v1")).rejects.toMatchObject({ code: "request_timeout", message: expect.stringContaining("no room for another") });
    const controller = new AbortController();
    const waiting = serving.loadAdapter({ id: "c@v1", path: "adapters/c@v1" }, { signal: controller.signal });
    const settled = expect(waiting).rejects.toMatchObject({ code: "aborted" });
    await vi.waitFor(() => expect(serving.endpoints()[0]!.load).toBe(3));
    controller.abort();
    await settled;
    for (const id of ["a@v1", "b@v1"]) release.get(id)!.resolve();
    expect(await answersTo(held)).toEqual(["a@v1", "b@v1"]);
    expect(serving.endpoints()[0]).toMatchObject({ load: 0, runningAdapters: [] });
  });
});
