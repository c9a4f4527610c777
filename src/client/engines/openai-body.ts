import type { ConversationTurn } from "../../types/common.js";
import type { EngineQuestion } from "./engine.js";

/** A question as the body of `/v1/chat/completions`; JSON leaves undefined fields out. */
export function openAiBody(question: EngineQuestion): Record<string, unknown> {
  const { model, messages, maxTokens, temperature, topP, stop, seed, responseFormat, tools, toolChoice, body } = question;
  if (body !== undefined) return { ...body, model };
  return {
    model,
    messages: messages.map(openAiMessage),
    max_tokens: maxTokens,
    temperature,
    top_p: topP,
    stop,
    seed,
    response_format: openAiFormat(responseFormat),
    tools: tools?.map((tool) => ({ type: "function", function: tool })),
    tool_choice: typeof toolChoice === "object" ? { type: "function", function: toolChoice } : toolChoice,
  };
}

export function openAiMessage({ role, content, toolCalls, toolCallId }: ConversationTurn): object {
  return {
    role,
    content,
    tool_calls: toolCalls?.map(({ id, ...called }) => ({ id, type: "function", function: called })),
    tool_call_id: toolCallId,
  };
}

function openAiFormat(format: EngineQuestion["responseFormat"]): object | undefined {
  if (format?.type !== "json_schema") return format;
  const { name, schema } = format;
  return { type: "json_schema", json_schema: { name, schema, strict: true } };
}
