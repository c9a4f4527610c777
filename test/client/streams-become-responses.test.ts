import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createParser } from "eventsource-parser";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ServingClient } from "../../src/client/index.js";
import { type StandInEngine, startStandInEngine } from "../../src/testing/index.js";

describe("a stream as an HTTP answer", () => {
  let engine: StandInEngine;
  let serving: ServingClient;
  beforeEach(async () => {
    engine = await startStandInEngine({ answer: () => "one two three", tokenIntervalMs: 5 });
    serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
  });
  afterEach(async () => {
    await serving.close();
    await engine.close();
  });

  const read = async (response: Response) => {
    const events: { event: string | undefined; data: Record<string, unknown> }[] = [];
    const parser = createParser({ onEvent: ({ event, data }) => events.push({ event, data: JSON.parse(data) }) });
    parser.feed(await response.text());
    return events;
  };

  it("gives each piece as an event, and usage and routing at the end", async () => {
    const response = serving.stream({ prompt: "?" }).toResponse({ headers: { "x-app": "1" } });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("x-app")).toBe("1");
    const events = await read(response);
    expect(events.slice(0, 3)).toEqual(["one", " two", " three"].map((text) => ({ event: undefined, data: { text } })));
    expect(events.at(-1)).toMatchObject({
      event: "result",
      data: { text: "one two three", usage: { completionTokens: 3 }, adapterId: null },
    });
  });

  it("ends with an event that says what went wrong", async () => {
    engine.setFault({ kind: "reset", afterTokens: 2 });
    const events = await read(serving.stream({ prompt: "?" }).toResponse());
    expect(events.at(-1)).toMatchObject({ event: "error", data: { code: "engine_unavailable", isRetryable: true } });
  });

  it("forwards the first piece while the rest is still being made, through a real server", async () => {
    engine.setFault({ kind: "stall", afterTokens: 1 });
    const server = createServer(async (_request, response) => {
      const { body, headers } = serving.stream({ prompt: "?" }).toResponse();
      response.writeHead(200, Object.fromEntries(headers));
      for await (const part of body!) response.write(part);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const controller = new AbortController();
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { signal: controller.signal });
    const { value } = await response.body!.getReader().read();
    expect(new TextDecoder().decode(value)).toBe('data: {"text":"one"}\n\n');
    controller.abort();
    server.closeAllConnections();
    server.close();
  });

  it("stops the engine when its reader leaves", async () => {
    engine.setFault({ kind: "stall", afterTokens: 1 });
    const reader = serving.stream({ prompt: "?" }).toResponse().body!.getReader();
    await reader.read();
    const leftAt = performance.now();
    await reader.cancel();
    await expect.poll(() => engine.questions.at(-1)!.state).toBe("aborted");
    expect(engine.questions.at(-1)!.endedAt! - leftAt).toBeLessThan(100);
  });
});

describe("structured output and tools", () => {
  const tools = [
    { name: "get_key", description: "A key by room", parameters: { type: "object", properties: { room: { type: "string" } } } },
  ];

  it("reach the engine in OpenAI's words", async () => {
    await using engine = await startStandInEngine();
    await using serving = new ServingClient({ engine: "vllm", endpoints: [engine.url] });
    await serving.generate({
      messages: [
        { role: "user", content: "Which key?" },
        { role: "assistant", content: "", toolCalls: [{ id: "call-1", name: "get_key", arguments: '{"room":"chapel"}' }] },
        { role: "tool", content: "B12", toolCallId: "call-1" },
      ],
      tools,
      toolChoice: { name: "get_key" },
      responseFormat: { type: "json_schema", name: "key", schema: { type: "object" } },
    });
    expect(engine.questions[0]!.body).toMatchObject({
      messages: [
        { role: "user", content: "Which key?" },
        {
          role: "assistant",
          tool_calls: [{ id: "call-1", type: "function", function: { name: "get_key", arguments: '{"room":"chapel"}' } }],
        },
        { role: "tool", content: "B12", tool_call_id: "call-1" },
      ],
      tools: [{ type: "function", function: tools[0] }],
      tool_choice: { type: "function", function: { name: "get_key" } },
      response_format: { type: "json_schema", json_schema: { name: "key", schema: { type: "object" }, strict: true } },
    });
  });

  it("come back, whole and put together from a stream's pieces", async () => {
    const call = (index: number, part: object) => ({
      choices: [{ index: 0, delta: { tool_calls: [{ index, ...part }] }, finish_reason: null }],
    });
    const events = [
      call(0, { id: "call-1", type: "function", function: { name: "get_key", arguments: "" } }),
      call(0, { function: { arguments: '{"room":' } }),
      call(1, { id: "call-2", type: "function", function: { name: "get_key", arguments: "{}" } }),
      call(0, { function: { arguments: '"chapel"}' } }),
      { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] },
    ];
    const calls = [
      { id: "call-1", name: "get_key", arguments: '{"room":"chapel"}' },
      { id: "call-2", name: "get_key", arguments: "{}" },
    ];
    const server = createServer((request, response) => {
      if (request.method === "GET") return void response.writeHead(404).end();
      let body = "";
      request.on("data", (part) => {
        body += part;
      });
      request.on("end", () => {
        if (JSON.parse(body).stream) {
          response.writeHead(200, { "content-type": "text/event-stream" });
          for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
          return void response.end("data: [DONE]\n\n");
        }
        const tool_calls = calls.map(({ id, ...called }) => ({ id, type: "function", function: called }));
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify({ choices: [{ message: { content: null, tool_calls }, finish_reason: "tool_calls" }] }));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    await using serving = new ServingClient({ endpoints: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`] });
    expect(await serving.generate({ prompt: "?", tools })).toMatchObject({ text: "", toolCalls: calls, finishReason: "tool_calls" });
    const stream = serving.stream({ prompt: "?", tools });
    const pieces = [];
    for await (const { toolCalls } of stream) pieces.push(...(toolCalls ?? []));
    expect(pieces.map(({ index }) => index)).toEqual([0, 0, 1, 0]);
    expect(await stream.result).toMatchObject({ toolCalls: calls, finishReason: "tool_calls" });
    server.close();
  });
});
