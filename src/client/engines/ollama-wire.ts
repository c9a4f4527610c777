import { z } from "zod";
import type { ConversationTurn } from "../../types/common.js";
import { type Completion, type CompletionEvent, parseAnswer, parseEvent } from "./completion-wire.js";
import type { EngineQuestion, ScoredAnswer } from "./engine.js";
import { ScoredTokens, scoredAnswer } from "./scored-answer.js";

/** The body of `POST /api/chat` (docs/api.md of Ollama 0.17). */
export function chatBody(question: EngineQuestion): Record<string, unknown> {
  const { model, messages, maxTokens, temperature, topP, stop, seed, responseFormat, tools, toolChoice } = question;
  return {
    model,
    messages: messages.map(ollamaMessage),
    format: responseFormat?.type === "json_schema" ? responseFormat.schema : responseFormat?.type === "json_object" ? "json" : undefined,
    // Ollama knows no choice of tools: none are shown where none may be called
    tools: toolChoice === "none" ? undefined : tools?.map((tool) => ({ type: "function", function: tool })),
    options: { num_predict: maxTokens, temperature, top_p: topP, stop: typeof stop === "string" ? [stop] : stop, seed },
  };
}

function ollamaMessage({ role, content, toolCalls, toolCallId }: ConversationTurn): object {
  return {
    role,
    content,
    tool_calls: toolCalls?.map(({ id, name, arguments: text }) => ({ id, function: { name, arguments: parsedArguments(text) } })),
    tool_call_id: toolCallId,
  };
}

function parsedArguments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // the model wrote them, and Ollama takes objects only
    return {};
  }
}

const Call = z.object({
  id: z.string().nullish(),
  function: z.object({ name: z.string(), arguments: z.record(z.string(), z.json()).nullish() }),
});
const ChatResponse = z.object({
  model: z.string().nullish(),
  message: z.object({ content: z.string().nullish(), tool_calls: z.array(Call).nullish() }),
  done: z.boolean(),
  done_reason: z.string().nullish(),
  prompt_eval_count: z.number().nullish(),
  eval_count: z.number().nullish(),
  logprobs: ScoredTokens.nullish(),
});

/** Reads one line of a chat stream; its last one has the counts. Throws `NotACompletion`. */
export function readOllamaEvent(data: string): CompletionEvent {
  return completionOf(parseAnswer(ChatResponse, parseEvent(data)));
}

/** Reads a whole answer. Throws `NotACompletion`. */
export function readOllamaAnswer(body: unknown): Completion {
  return { ...completionOf(parseAnswer(ChatResponse, body)), body };
}

/** Reads a whole answer with its log-probabilities. Throws `NotACompletion`. */
export function readOllamaScores(body: unknown): ScoredAnswer {
  const { message, logprobs } = parseAnswer(ChatResponse, body);
  return scoredAnswer(message.content, logprobs);
}

function completionOf({ model, message, done, done_reason, prompt_eval_count, eval_count }: z.infer<typeof ChatResponse>) {
  const toolCalls = message.tool_calls?.map(({ id, function: { name, arguments: given } }) => ({
    id: id ?? "",
    name,
    arguments: JSON.stringify(given ?? {}),
  }));
  return {
    text: message.content ?? "",
    ...(toolCalls && toolCalls.length > 0 ? { toolCalls } : {}),
    finishReason: done ? (done_reason ?? "stop") : null,
    model: model ?? null,
    usage: done ? { promptTokens: prompt_eval_count ?? 0, completionTokens: eval_count ?? 0 } : null,
    isLast: done,
  };
}
