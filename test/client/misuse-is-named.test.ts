import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ServingClient, type ServingClientOptions } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine, startStandInOllama } from "../../src/testing/index.js";
import type { GenerationRequest } from "../../src/types/generation.js";

const make = (options: unknown) => new ServingClient(options as ServingClientOptions);

describe("options that are wrong", () => {
  it.each([
    ["none at all", undefined, /endpoints: give a list/],
    ["no endpoints", {}, /endpoints: give a list/],
    ["an endpoint that is none", { endpoints: [null] }, /endpoints\.0: give a URL or an endpoint provider/],
    ["a URL without http", { endpoints: ["localhost:8000"] }, /"localhost:8000" is not an http or https URL/],
    ["a misspelt option", { endpoints: ["http://a"], maxConcurency: 3 }, /maxConcurency/],
    ["a misspelt timeout", { endpoints: ["http://a"], timeouts: { total: 3 } }, /timeouts: .*total/],
    ["a router that is none", { endpoints: ["http://a"], router: {} }, /router: give an object with the method route/],
    ["a token with a line break", { endpoints: ["http://a"], token: "secret\n" }, /token: .*http:\/\/a.*trim it/],
    ["a token beyond ASCII", { endpoints: ["http://a"], token: "schlüssel" }, /token: .*http:\/\/a/],
  ])("%s: are named when the client is made", (_name, options, message) => {
    expect(() => make(options)).toThrow(expect.objectContaining({ code: "config_invalid", message: expect.stringMatching(message) }));
  });

  it("a provider's token with a line break is named at the call, and nothing is sent", async () => {
    await using engine = await startStandInEngine();
    await using serving = make({ endpoints: [{ name: "local", resolve: async () => ({ url: engine.url, token: "secret\n" }) }] });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "config_invalid", details: { endpoint: "local" } });
    expect(engine.requests).toEqual([]);
  });

  it("the same endpoint twice counts once", async () => {
    await using serving = make({ endpoints: ["http://a:8000", "http://a:8000/v1/"] });
    expect(serving.endpoints().map(({ endpoint }) => endpoint)).toEqual(["http://a:8000"]);
  });
});

describe("a call that is wrong", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  beforeEach(async () => {
    engine = await startStandInEngine();
    serving = make({ engine: "vllm", endpoints: [engine.url], retries: { max: 0 } });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  it.each([
    ["a field of OpenAI's", { prompt: "?", max_tokens: 3 }, /max_tokens/],
    ["an empty adapter", { prompt: "?", adapterId: "" }, /adapterId/],
    ["the base model as an adapter", { prompt: "?", adapterId: "base" }, /adapterId: base is the base model; pin that with null/],
    ["a tool that is not among the tools", { prompt: "?", tools: [{ name: "a" }], toolChoice: { name: "b" } }, /toolChoice/],
    ["nothing", null, /request/],
  ])("%s: is refused by its field, and nothing is sent", async (_name, request, message) => {
    const failing = serving.generate(request as GenerationRequest);
    await expect(failing).rejects.toMatchObject({ code: "input_invalid", message: expect.stringMatching(message) });
    expect(engine.requests).toEqual([]);
  });

  it.each(["base", "a/../b", "..", "a b@v1", "a\n@v1", "x".repeat(257)])("an adapter named %j is not loaded (A17)", async (id) => {
    await expect(serving.loadAdapter({ id, path: "p" })).rejects.toMatchObject({ code: "input_invalid", details: { field: "id" } });
    expect(engine.requests).toEqual([]);
  });

  it("an adapter that is not loaded cannot be verified", async () => {
    await expect(serving.verifyAdapter("gone@v1")).rejects.toMatchObject({ code: "adapter_not_found", details: { id: "gone@v1" } });
    await expect(serving.verifyAdapter(undefined as never)).rejects.toMatchObject({ code: "input_invalid", details: { field: "id" } });
  });

  it("a batch that is no list is refused, and one whose onProgress throws keeps its answers", async () => {
    await expect(serving.generateBatch("?" as never)).rejects.toMatchObject({ code: "input_invalid" });
    const outcomes = await serving.generateBatch([{ prompt: "1" }, { prompt: "2" }], {
      onProgress: () => {
        throw new Error("the caller's own");
      },
    });
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
  });

  it.each([true, false])("ids beyond ASCII are percent-encoded in headers and as they are elsewhere (stream: %s)", async (stream) => {
    const id = "gebäude-日本@v1";
    await serving.loadAdapter({ id, path: "p" });
    const response = await serving.chatCompletions({ model: id, stream, messages: [{ role: "user", content: "?" }] });
    expect(response.status).toBe(200);
    expect(decodeURI(response.headers.get("x-clara-adapter-id")!)).toBe(id);
    expect(await response.text()).toContain(`"model":"${id}"`);
  });
});

describe("an address that is wrong", () => {
  it.each([
    ["a path that the server does not have", "vllm", "/api", /has no GET \/v1\/models \(options endpoints, engine\)/],
    ["Ollama's API asked of vLLM", "ollama", "", /has no GET \/api\/version/],
    ["TLS asked of a server without", "openai-compatible", "https", /does not speak TLS .*http:\/\//],
  ] as const)("%s: says what to change", async (_name, engine, change, message) => {
    await using standIn = await startStandInEngine();
    const url = change === "https" ? standIn.url.replace("http:", "https:") : standIn.url + change;
    await using serving = make({ engine, endpoints: [url], retries: { max: 0 } });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ isRetryable: false, message: expect.stringMatching(message) });
  });

  it("vLLM's API asked of Ollama: says what is not there", async () => {
    await using ollama = await startStandInOllama();
    await using serving = make({ engine: "vllm", endpoints: [ollama.url] });
    await expect(serving.health()).resolves.toMatchObject([{ ok: false, error: { message: expect.stringContaining("/health") } }]);
  });

  it("a host whose name holds the word model is not taken for a missing model", async () => {
    await using engine = await startStandInEngine();
    await using serving = make({ endpoints: [`${engine.url}/model`], retries: { max: 0 } });
    await expect(serving.generate({ prompt: "?" })).rejects.toMatchObject({ code: "engine_error", details: { status: 404 } });
  });
});

describe("an adapter whose files vLLM's worker refuses", () => {
  it.each([
    ["Error while deserializing header: incomplete metadata, file not fully covered", "adapter_invalid", false],
    ["LoRA rank 64 is greater than max_lora_rank 16.", "adapter_invalid", false],
    ["CUDA out of memory.", "engine_error", true],
  ])("%s", async (complaint, code, isRetryable) => {
    await using engine = await startStandInEngine({ adapterComplaint: () => complaint });
    await using serving = make({ engine: "vllm", endpoints: [engine.url], retries: { max: 0 } });
    const failing = serving.loadAdapter({ id: "office@v1", path: "adapters/office@v1" });
    await expect(failing).rejects.toMatchObject({ code, isRetryable, message: expect.stringContaining(complaint) });
  });
});

describe("a stream of tool calls", () => {
  let server: Server;
  let serving: ServingClient;
  let events: object[];
  beforeEach(async () => {
    const answer = (response: ServerResponse) => {
      response.writeHead(200, { "content-type": "Text/Event-Stream" });
      for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
      response.end("data: [DONE]\n\n");
    };
    server = createServer((request, response) => (request.method === "GET" ? response.writeHead(404).end() : answer(response)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    serving = make({ endpoints: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`], retries: { max: 0 } });
  });
  afterEach(async () => {
    await serving.close();
    server.close();
  });

  const tell = (...pieces: unknown[]) => {
    events = pieces.map((piece) => ({ choices: [{ index: 0, delta: { tool_calls: [piece] }, finish_reason: null }] }));
    events.push({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] });
  };

  const first = { function: { name: "key", arguments: '{"room":' } };
  const rest = { function: { arguments: '"A"}' } };
  const second = { function: { name: "lamp", arguments: "{}" } };
  it.each([
    ["without an index", { id: "1", ...first }, rest, { id: "2", ...second }],
    ["all with the index 0", { index: 0, id: "1", ...first }, { index: 0, ...rest }, { index: 0, id: "2", ...second }],
    ["with another id for every piece", { index: 0, id: "1", ...first }, { index: 0, id: "9", ...rest }, { index: 1, id: "2", ...second }],
  ])("%s keeps the calls apart", async (_name, ...pieces) => {
    tell(...pieces);
    const stream = serving.stream({ prompt: "?" });
    const seen: number[] = [];
    for await (const { toolCalls } of stream) seen.push(...(toolCalls ?? []).map(({ index }) => index));
    expect(seen).toEqual([0, 0, 1]);
    expect((await stream.result).toolCalls).toEqual([
      { id: "1", name: "key", arguments: '{"room":"A"}' },
      { id: "2", name: "lamp", arguments: "{}" },
    ]);
  });

  it.each([
    ["null", null],
    ["a text", "key"],
    ["arguments that are no text", { index: 0, id: "1", function: { name: "key", arguments: { room: "A" } } }],
  ])("of which one is %s is an invalid answer", async (_name, piece) => {
    tell(piece);
    await expect(serving.stream({ prompt: "?" }).result).rejects.toMatchObject({ code: "engine_response_invalid" });
  });
});
