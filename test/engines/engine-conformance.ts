import { describe, expect, it } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";

/** An engine that the suite is run against, with two adapters that lie on its machine, or that it serves from its start on. */
export interface EngineUnderTest {
  url: string;
  token?: string;
  engine: NonNullable<ServingClientOptions["engine"]>;
  baseModel: string;
  adapters: { id: string; path: string }[];
}

/** What a kind of engine does not do, so that nothing is asked of it. */
export interface Gaps {
  /** Adapters are served from its start on, and stay. */
  keepsAdapters?: true;
  /** It does not tell from which folder an adapter came. */
  hidesFolders?: true;
  /** It takes any number of tokens. */
  hasNoLimit?: true;
}

/** What every engine must do, the stand-ins like the real ones, and those of all kinds alike. */
export function describeEngine(name: string, start: () => Promise<EngineUnderTest & AsyncDisposable>, gaps: Gaps = {}): void {
  describe(`the conformance suite on ${name}`, () => {
    const withEngine = (body: (serving: ServingClient, engine: EngineUnderTest) => Promise<void>) => async () => {
      await using engine = await start();
      await using serving = new ServingClient({ ...optionsFor(engine), temperature: 0, maxTokens: 16, retries: { max: 0 } });
      if (!gaps.keepsAdapters) for (const { id } of engine.adapters) await serving.unloadAdapter(id);
      await body(serving, engine);
    };

    it(
      "answers health",
      withEngine(async (serving, { url }) => {
        expect(await serving.health()).toMatchObject([{ endpoint: url, ok: true }]);
      }),
    );

    it(
      "answers whole and streamed alike, with usage and a finish reason",
      withEngine(async (serving, { baseModel }) => {
        const whole = await serving.generate({ prompt: "What is the capital of France?", adapterId: null });
        const stream = serving.stream({ prompt: "What is the capital of France?", adapterId: null });
        let text = "";
        for await (const chunk of stream) text += chunk.text;
        const streamed = await stream.result;
        expect(whole.model).toBe(baseModel);
        expect(whole.usage.promptTokens).toBeGreaterThan(0);
        expect(whole.usage.completionTokens).toBeGreaterThan(0);
        expect(["stop", "length"]).toContain(whole.finishReason);
        expect({ text, ...pick(streamed) }).toEqual({ text: whole.text, ...pick(whole) });
      }),
    );

    it(
      "stops at max tokens and says so",
      withEngine(async (serving) => {
        const reply = await serving.generate({ prompt: "Count from one to one hundred, please.", maxTokens: 1, adapterId: null });
        expect(reply).toMatchObject({ finishReason: "length", usage: { completionTokens: 1 } });
      }),
    );

    it.runIf(!gaps.keepsAdapters)(
      "loads adapters while it serves, once each, lists and unloads them",
      withEngine(async (serving, { adapters, url }) => {
        const [first, second] = adapters as [{ id: string; path: string }, { id: string; path: string }];
        expect(await serving.loadAdapter(first)).toMatchObject({ status: "loaded" });
        expect(await serving.loadAdapter(first)).toMatchObject({ status: "already_loaded" });
        expect(await serving.loadAdapter(second)).toMatchObject({ status: "loaded" });
        const listed = await serving.listAdapters();
        expect(listed.map(({ id, endpoints }) => ({ id, endpoints }))).toEqual(adapters.map(({ id }) => ({ id, endpoints: [url] })));
        const reply = await serving.generate({ prompt: "Hello", adapterId: first.id });
        expect(reply).toMatchObject({ adapterId: first.id, model: first.id });
        expect((await serving.unloadAdapter(first.id)).endpoints).toEqual([{ endpoint: url, status: "unloaded" }]);
        expect((await serving.unloadAdapter(first.id)).endpoints).toEqual([{ endpoint: url, status: "not_loaded" }]);
        expect((await serving.listAdapters()).map(({ id }) => id)).toEqual([second.id]);
      }),
    );

    it(
      "answers base and adapters at the same time",
      withEngine(async (serving, { adapters }) => {
        if (!gaps.keepsAdapters) for (const adapter of adapters) await serving.loadAdapter(adapter);
        const models = [null, ...adapters.map(({ id }) => id)];
        const alone = [];
        for (const adapterId of models) alone.push((await serving.generate({ prompt: "Hello", adapterId })).text);
        const together = await serving.generateBatch(
          Array.from({ length: 4 }, () => models)
            .flat()
            .map((adapterId) => ({ prompt: "Hello", adapterId })),
        );
        expect(together.map((one) => (one.status === "fulfilled" ? one.value.text : one.reason.message))).toEqual(
          Array(4).fill(alone).flat(),
        );
      }),
    );

    it.runIf(!gaps.keepsAdapters)(
      "refuses an adapter that is not there",
      withEngine(async (serving) => {
        await expect(serving.loadAdapter({ id: "nothing@v1", path: "adapters/nothing@v1" })).rejects.toMatchObject({
          code: "adapter_invalid",
        });
      }),
    );

    it.runIf(!gaps.keepsAdapters && !gaps.hidesFolders)(
      "refuses another folder under a known name",
      withEngine(async (serving, { adapters }) => {
        const [first, second] = adapters as [{ id: string; path: string }, { id: string; path: string }];
        await serving.loadAdapter(first);
        await expect(serving.loadAdapter({ id: first.id, path: second.path })).rejects.toMatchObject({ code: "adapter_state_conflict" });
      }),
    );

    it(
      "names an unknown adapter and an unknown base model",
      withEngine(async (serving, engine) => {
        await expect(serving.generate({ prompt: "?", adapterId: "nothing@v1" })).rejects.toMatchObject({ code: "adapter_not_found" });
        await using other = new ServingClient({ ...optionsFor(engine), baseModel: "no-such-model" });
        await expect(other.stream({ prompt: "?" }).result).rejects.toMatchObject({
          code: "model_not_found",
          details: { served: expect.arrayContaining([expect.stringContaining(engine.baseModel)]) },
        });
      }),
    );

    it.runIf(!gaps.keepsAdapters)(
      "gets a known adapter again after it forgot it",
      withEngine(async (_serving, engine) => {
        const [first] = engine.adapters as [{ id: string; path: string }];
        await using serving = new ServingClient({ ...optionsFor(engine), maxTokens: 4, adapters: { getAdapter: async () => first } });
        expect(await serving.generate({ prompt: "Hello", adapterId: first.id })).toMatchObject({ model: first.id });
        expect((await serving.listAdapters()).map(({ id }) => id)).toEqual([first.id]);
      }),
    );

    it.runIf(gaps.keepsAdapters === true)(
      "says what to do where adapters cannot be loaded while it serves",
      withEngine(async (serving, { adapters }) => {
        const failing = serving.loadAdapter({ id: "nothing@v1", path: adapters[0]!.path });
        await expect(failing).rejects.toMatchObject({ code: "capability_missing", message: expect.stringContaining("nothing@v1") });
      }),
    );

    it(
      "ends a stream at an abort and goes on serving",
      withEngine(async (serving) => {
        const controller = new AbortController();
        const stream = serving.stream(
          { prompt: "Tell me a long story about a river.", maxTokens: 200, adapterId: null },
          { signal: controller.signal },
        );
        const reading = (async () => {
          for await (const _chunk of stream) controller.abort();
        })();
        await expect(reading).rejects.toMatchObject({ code: "aborted" });
        expect((await serving.generate({ prompt: "Hello", adapterId: null })).text).not.toBe("");
      }),
    );

    it.runIf(!gaps.hasNoLimit)(
      "refuses more tokens than the model has room for, with its reason",
      withEngine(async (serving) => {
        const failing = serving.generate({ prompt: "Hello", maxTokens: 131_072, adapterId: null });
        await expect(failing).rejects.toMatchObject({
          code: "engine_error",
          isRetryable: false,
          details: { status: 400 },
          message: expect.stringMatching(/context|max/i),
        });
      }),
    );
  });
}

function optionsFor({ engine, url, token, baseModel }: EngineUnderTest): ServingClientOptions {
  return { engine, endpoints: [url], token, baseModel };
}

function pick({ usage, finishReason, model }: { usage: unknown; finishReason: string; model: string }): object {
  return { usage, finishReason, model };
}
