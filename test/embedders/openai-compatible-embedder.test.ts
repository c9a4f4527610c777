import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { OpenAiCompatibleEmbedder } from "../../src/embedders/index.js";

interface Request {
  model: string;
  input: string[];
}

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

async function serve(answer: (request: Request, response: ServerResponse, message: IncomingMessage) => void): Promise<string> {
  server = createServer((message, response) => {
    let body = "";
    message.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    message.on("end", () => answer(JSON.parse(body) as Request, response, message));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const vectorOf = (text: string): number[] => [text.length, 0, 1];
const json = (response: ServerResponse, body: unknown, status = 200, headers = {}): void => {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
};

describe("an OpenAI-compatible embedder", () => {
  it("asks in batches and puts the answers in the order of the texts, whatever order the server answers in", async () => {
    const batches: number[] = [];
    const tokens = new Set<string | undefined>();
    const url = await serve((request, response, message) => {
      batches.push(request.input.length);
      tokens.add(message.headers.authorization);
      json(response, { data: request.input.map((text, index) => ({ index, embedding: vectorOf(text) })).reverse() });
    });
    const embedder = new OpenAiCompatibleEmbedder({
      endpoint: { name: "test", resolve: async () => ({ url: `${url}/v1/`, token: "secret" }) },
      model: "minilm",
      batchSize: 2,
    });
    const texts = ["a", "bb", "ccc", "dddd", "eeeee"];
    expect(await embedder.embed(texts)).toEqual(texts.map(vectorOf));
    expect(batches).toEqual([2, 2, 1]);
    expect([...tokens]).toEqual(["Bearer secret"]);
    expect(embedder.dimensions).toBe(3);
  });

  it.each([
    ["a vector of another length", (count: number) => ({ data: Array.from({ length: count }, (_, index) => ({ index, embedding: [1] })) })],
    ["a text left out", (count: number) => ({ data: Array.from({ length: count - 1 }, (_, index) => ({ index, embedding: [1, 2, 3] })) })],
    ["an index twice", (count: number) => ({ data: Array.from({ length: count }, () => ({ index: 0, embedding: [1, 2, 3] })) })],
    ["no embeddings", () => ({ object: "list" })],
  ])("names %s as a wrong answer", async (_, body) => {
    const url = await serve((request, response) => json(response, body(request.input.length)));
    const embedder = new OpenAiCompatibleEmbedder({ endpoint: url, model: "minilm", dimensions: 3 });
    await expect(embedder.embed(["a", "b"])).rejects.toMatchObject({ code: "engine_response_invalid" });
  });

  it("tells an unknown model, an overloaded and a broken server apart", async () => {
    const answers = [
      [404, {}, { code: "model_not_found", isRetryable: false }],
      [429, { "retry-after": "3" }, { code: "overloaded", retryAfterMs: 3000 }],
      [503, {}, { code: "engine_error", isRetryable: true }],
    ] as const;
    for (const [status, headers, expected] of answers) {
      const url = await serve((_, response) => json(response, { error: "no" }, status, headers));
      await expect(new OpenAiCompatibleEmbedder({ endpoint: url, model: "m" }).embed(["a"])).rejects.toMatchObject(expected);
      server!.closeAllConnections();
      server!.close();
    }
  });

  it("says what to start when nothing listens", async () => {
    const url = await serve(() => undefined);
    server!.close();
    await once(server!, "close");
    const embedder = new OpenAiCompatibleEmbedder({ endpoint: url, model: "m" });
    await expect(embedder.embed(["a"])).rejects.toMatchObject({ code: "engine_unavailable", isRetryable: true });
    await expect(embedder.embed(["a"])).rejects.toThrow(url);
  });

  it("gives up after its time limit, and at once when aborted", async () => {
    const url = await serve(() => undefined);
    await expect(new OpenAiCompatibleEmbedder({ endpoint: url, model: "m", timeoutMs: 50 }).embed(["a"])).rejects.toMatchObject({
      code: "request_timeout",
    });
    const controller = new AbortController();
    const embedding = new OpenAiCompatibleEmbedder({ endpoint: url, model: "m" }).embed(["a"], { signal: controller.signal });
    controller.abort();
    await expect(embedding).rejects.toMatchObject({ code: "aborted" });
  });
});
