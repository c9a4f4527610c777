import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type RecordedGeneration, ServingClient } from "../../src/client/index.js";
import { claraFetch } from "../../src/integrations/openai.js";
import { AdapterRouter } from "../../src/router/index.js";
import { signReceipt } from "../../src/support/receipts.js";
import { type StandInEngine, type StandInQuestion, startStandInEngine } from "../../src/testing/index.js";

const messages = [{ role: "user" as const, content: "Which key opens the greenhouse?" }];
const weather = {
  type: "function" as const,
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

describe("the official openai client", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  let openai: OpenAI;
  let records: RecordedGeneration[];
  let asked: StandInQuestion[];

  beforeEach(async () => {
    records = [];
    asked = [];
    engine = await startStandInEngine({
      answer: (question) => {
        asked.push(question);
        return `${question.adapter?.id ?? "base"} says B12`;
      },
    });
    const router = new AdapterRouter();
    const { id } = await router.registerAdapter({ name: "keys", domain: "keys", path: "adapters/keys@v1", baseModel: "base" });
    await router.activateAdapter(id);
    await router.configure({ rules: [{ domain: "keys", keywords: ["key", "greenhouse"] }] });
    serving = new ServingClient({
      engine: "vllm",
      endpoints: [engine.url],
      router,
      adapters: router,
      recorder: { record: (generation) => records.push(generation) },
    });
    openai = new OpenAI({ apiKey: "none", baseURL: "http://clara.invalid/v1", fetch: claraFetch({ serving }), maxRetries: 0 });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  it("is routed, and its answer's id is the one that is recorded for feedback", async () => {
    const reply = await openai.chat.completions.create({ model: "auto", messages, max_tokens: 16, user: "user-7" });
    expect(reply.choices[0]!.message.content).toBe("keys@v1 says B12");
    expect(reply.model).toBe("keys@v1");
    expect(reply.usage!.completion_tokens).toBe(3);
    expect(records).toEqual([
      expect.objectContaining({
        id: reply.id,
        adapterId: "keys@v1",
        prompt: messages[0]!.content,
        text: "keys@v1 says B12",
        subjectId: "user-7",
      }),
    ]);
  });

  it("gets a stream whose every event has that id, with the usage where it asks for it", async () => {
    for (const include_usage of [true, false]) {
      const stream = await openai.chat.completions.create({ model: "auto", messages, stream: true, stream_options: { include_usage } });
      const events = [];
      for await (const event of stream) events.push(event);
      expect(events.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("keys@v1 says B12");
      expect(new Set(events.map(({ id }) => id))).toEqual(new Set([records.at(-1)!.id]));
      expect(events.filter(({ usage }) => usage != null).length).toBe(include_usage ? 1 : 0);
      expect(events.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])).toEqual(["stop"]);
    }
  });

  it("has its tools and formats passed on as they are, and nothing that would choose weights or addresses", async () => {
    const dangerous = { lora_path: "/etc", api_base: "http://169.254.169.254", prompt_embeds: "x", extra_body: {} };
    const response_format = { type: "json_schema" as const, json_schema: { name: "key", schema: { type: "object" } } };
    await openai.chat.completions.create({
      model: "auto",
      messages,
      tools: [weather],
      tool_choice: "auto",
      response_format,
      ...dangerous,
    } as never);
    const body = asked[0]!.body;
    expect(body).toMatchObject({ model: "keys@v1", tools: [weather], tool_choice: "auto", response_format });
    for (const field of Object.keys(dangerous)) expect(body).not.toHaveProperty(field);
  });

  it("gets users' corrections and a receipt, each named in the headers, whole and streamed", async () => {
    const correction = { feedbackId: "f1", domain: "keys", prompt: messages[0]!.content, answer: "You need key A55.", similarity: 1 };
    const tenants: unknown[] = [];
    const memory = {
      recall: async (_turns: unknown, { metadata }: { metadata?: object }) => {
        tenants.push(metadata);
        return [correction];
      },
    };
    await using remembering = new ServingClient({
      engine: "vllm",
      endpoints: [engine.url],
      memory,
      receiptSecret: "a secret of the tests",
    });
    const options = { memory: true, metadata: { tenant: "ulm" } };
    const fetch = claraFetch({ serving: remembering }, options);
    const client = new OpenAI({ apiKey: "none", baseURL: "http://clara.invalid/v1", fetch });
    const parts = [{ type: "text" as const, text: "Be polite." }];
    for (const stream of [false, true]) {
      const { data, response } = await client.chat.completions
        .create({ model: "auto", messages: [{ role: "system", content: parts }, ...messages], stream, user: "user-7" })
        .withResponse();
      const reply: unknown = data;
      if (stream) for await (const _event of reply as AsyncIterable<unknown>);
      expect(response.headers.get("x-clara-memory")).toBe("f1");
      const id = response.headers.get("x-clara-generation-id")!;
      expect(response.headers.get("x-clara-receipt")).toBe(signReceipt("a secret of the tests", id, "user-7"));
      expect(tenants.pop()).toEqual({ tenant: "ulm" });
      expect(asked.at(-1)!.body.messages).toEqual([
        { role: "system", content: [...parts, { type: "text", text: expect.stringContaining("Right answer:\n- You need key A55.") }] },
        ...messages,
      ]);
    }
    const { response } = await openai.chat.completions.create({ model: "auto", messages }).withResponse();
    expect(response.headers.get("x-clara-memory")).toBeNull();
  });

  it("pins an adapter by its name, and learns what is served", async () => {
    const reply = await openai.chat.completions.create({ model: "keys@v1", messages: [{ role: "user", content: "Hello" }] });
    expect(reply.model).toBe("keys@v1");
    const { data } = await openai.models.list();
    expect(data.map(({ id }) => id)).toEqual(["auto", "base", "keys@v1"]);
  });

  it("meets errors of the kinds that it knows", async () => {
    await expect(openai.chat.completions.create({ model: "auto", messages: [] })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(openai.chat.completions.create({ model: "auto", messages, n: 2 })).rejects.toMatchObject({ status: 400, param: "n" });
    await expect(openai.chat.completions.create({ model: "gone@v9", messages })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(openai.embeddings.create({ model: "auto", input: "x" })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    engine.setFault({ kind: "status", status: 429, retryAfter: "7", times: 9 });
    await using impatient = new ServingClient({ engine: "vllm", endpoints: [engine.url], retries: { max: 0 } });
    const limited = new OpenAI({ apiKey: "none", baseURL: "http://x/v1", fetch: claraFetch({ serving: impatient }), maxRetries: 0 });
    const error = await limited.chat.completions.create({ model: "auto", messages }).catch((reason) => reason);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error.headers.get("retry-after")).toBe("7");
    engine.setFault({ kind: "error-event", afterTokens: 1 });
    const stream = await openai.chat.completions.create({ model: "auto", messages, stream: true });
    const reading = (async () => {
      for await (const _event of stream);
    })();
    await expect(reading).rejects.toThrow();
  });

  it("stops the engine within 100 ms when it aborts", async () => {
    engine.setFault({ kind: "stall", afterTokens: 1 });
    const controller = new AbortController();
    const stream = await openai.chat.completions.create({ model: "auto", messages, stream: true }, { signal: controller.signal });
    let abortedAt = 0;
    const reading = (async () => {
      for await (const event of stream) {
        if (event.choices[0]?.delta.content !== "keys@v1") continue;
        abortedAt = performance.now();
        controller.abort();
      }
    })();
    await reading.catch(() => undefined);
    await expect.poll(() => engine.questions.at(-1)!.state).toBe("aborted");
    expect(engine.questions.at(-1)!.endedAt! - abortedAt).toBeLessThan(100);
  });
});
