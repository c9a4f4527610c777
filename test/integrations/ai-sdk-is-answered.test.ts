import { generateText, jsonSchema, streamText, tool } from "ai";
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
