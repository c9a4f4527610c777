import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";
import { expect, it } from "vitest";
import { type RecordedGeneration, ServingClient } from "../../src/client/index.js";
import { createClaraProvider } from "../../src/integrations/ai-sdk.js";
import { startStandInEngine } from "../../src/testing/index.js";

it("Vercel's AI SDK generates and streams through CLARA, with tools, and its response id names the recorded answer", async () => {
  const records: RecordedGeneration[] = [];
  await using engine = await startStandInEngine({ answer: ({ text }) => `You asked: ${text}` });
  await using serving = new ServingClient({
    engine: "vllm",
    endpoints: [engine.url],
    recorder: { record: (generation) => records.push(generation) },
  });
  const provider = createClaraProvider({ serving });
  const whole = await generateText({ model: provider("auto"), prompt: "Where?" });
  expect(whole.text).toBe("You asked: Where?");
  expect(whole.usage.outputTokens).toBe(3);
  expect(records.at(-1)).toMatchObject({ id: whole.response.id, text: "You asked: Where?" });

  const streamed = streamText({ model: provider("auto"), prompt: "When?" });
  let text = "";
  for await (const part of streamed.textStream) text += part;
  expect(text).toBe("You asked: When?");
  expect((await streamed.response).id).toBe(records.at(-1)!.id);

  const weather = tool({
    description: "Weather of a city",
    inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
  });
  await generateText({ model: provider("auto"), prompt: "Weather?", tools: { weather } });
  expect((engine.questions.at(-1)!.body as { tools: { function: { name: string } }[] }).tools[0]!.function.name).toBe("weather");
});

it("Vercel's AI SDK gets tool calls, whole and streamed, and structured output", async () => {
  const call = { id: "call-1", type: "function", function: { name: "weather", arguments: '{"city":"Ulm"}' } };
  const completion = (message: object, finish_reason: string) => ({
    id: "x",
    object: "chat.completion",
    created: 1,
    model: "base",
    choices: [{ index: 0, message: { role: "assistant", content: null, ...message }, finish_reason }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  });
  const piece = (delta: object, finish_reason: string | null = null) => ({
    id: "x",
    object: "chat.completion.chunk",
    created: 1,
    model: "base",
    choices: [{ index: 0, delta, finish_reason }],
  });
  const bodies: Record<string, unknown>[] = [];
  const engine = createServer(async (request, response) => {
    if (request.method === "GET") return response.writeHead(404).end();
    const body = (await json(request)) as Record<string, unknown>;
    bodies.push(body);
    if (body.stream !== true) {
      const answer = body.tools ? completion({ tool_calls: [call] }, "tool_calls") : completion({ content: '{"key":"B12"}' }, "stop");
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    const begin = { ...call, function: { name: "weather", arguments: '{"city":' } };
    const events = [
      piece({ role: "assistant", content: null, tool_calls: [{ index: 0, ...begin }] }),
      piece({ tool_calls: [{ index: 0, function: { arguments: '"Ulm"}' } }] }),
      piece({}, "tool_calls"),
    ];
    return response.end(`${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")}data: [DONE]\n\n`);
  });
  await new Promise<void>((resolve) => engine.listen(0, "127.0.0.1", resolve));
  try {
    await using serving = new ServingClient({ endpoints: [`http://127.0.0.1:${(engine.address() as AddressInfo).port}`] });
    const model = createClaraProvider({ serving })("auto");
    const schema = jsonSchema<{ city: string }>({ type: "object", properties: { city: { type: "string" } } });
    const weather = tool({ description: "Weather of a city", inputSchema: schema });
    const asked = [expect.objectContaining({ toolCallId: "call-1", toolName: "weather", input: { city: "Ulm" } })];
    const whole = await generateText({ model, prompt: "Weather?", tools: { weather } });
    expect([whole.toolCalls, whole.finishReason]).toEqual([asked, "tool-calls"]);
    const streamed = streamText({ model, prompt: "Weather?", tools: { weather } });
    expect([await streamed.toolCalls, await streamed.finishReason]).toEqual([asked, "tool-calls"]);

    const key = jsonSchema<{ key: string }>({ type: "object", properties: { key: { type: "string" } } });
    const structured = await generateText({ model, prompt: "Which key?", output: Output.object({ schema: key }) });
    expect(structured.output).toEqual({ key: "B12" });
    expect(bodies.at(-1)).toMatchObject({
      response_format: { type: "json_schema", json_schema: { schema: { properties: { key: { type: "string" } } } } },
    });
  } finally {
    engine.close();
  }
});
