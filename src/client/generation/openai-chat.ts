import { z } from "zod";
import { type ClaraError, OverloadedError, ValidationError } from "../../errors.js";
import type { ConversationTurn } from "../../types/common.js";
import type { GenerationChunk, GenerationRequest, GenerationResult } from "../../types/generation.js";
import type { StreamPiece } from "../engines/completion-stream.js";
import { asClaraError } from "../http/engine-errors.js";
import type { GenerationHead } from "./generation-run.js";
import type { GenerationStream } from "./generation-stream.js";
import { eventOf, serverSentResponse } from "./server-sent-response.js";

/**
 * Fields of a body that an engine gets as they are. Everything else is left out: some of it would let a caller choose weights, files or
 * addresses of the server's.
 */
const PASSED = [
  "messages",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "stop",
  "seed",
  "presence_penalty",
  "frequency_penalty",
  "repetition_penalty",
  "logit_bias",
  "logprobs",
  "top_logprobs",
  "response_format",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "reasoning_effort",
] as const;

const Part = z.looseObject({ type: z.string(), text: z.string().optional() });
const Call = z.looseObject({ id: z.string().default(""), function: z.object({ name: z.string(), arguments: z.string() }) });
const ChatBody = z.looseObject({
  model: z.string().optional(),
  messages: z
    .array(
      z.looseObject({
        role: z.enum(["system", "developer", "user", "assistant", "tool"]),
        content: z.union([z.string(), z.array(Part)]).nullish(),
        tool_calls: z.array(Call).nullish(),
        tool_call_id: z.string().nullish(),
      }),
    )
    .min(1),
  n: z.literal(1, "ask for one answer at a time").nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.number().int().min(1).nullish(),
  max_completion_tokens: z.number().int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  user: z.string().max(256).nullish(),
});

/** A body of `/v1/chat/completions`, taken apart. */
export interface ChatQuestion {
  request: GenerationRequest;
  body: Record<string, unknown>;
  isStream: boolean;
  includesUsage: boolean;
}

/** Reads a body; `name@vN` as its model pins that adapter, any other model is routed. Throws `ValidationError` `input_invalid`. */
export function readChatBody(body: unknown): ChatQuestion {
  const parsed = ChatBody.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") || "body";
    throw new ValidationError("input_invalid", `${field}: ${issue?.message}`, { cause: parsed.error, details: { field } });
  }
  const { model, messages, stream, stream_options, max_tokens, max_completion_tokens, temperature, user } = parsed.data;
  const turns = messages.map(
    ({ role, content, tool_calls, tool_call_id }): ConversationTurn => ({
      role: role === "developer" ? "system" : role,
      content: typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("\n"),
      ...(tool_calls ? { toolCalls: tool_calls.map(({ id, function: called }) => ({ id, ...called })) } : {}),
      ...(tool_call_id ? { toolCallId: tool_call_id } : {}),
    }),
  );
  return {
    request: {
      messages: turns,
      ...(model !== undefined && /@v\d+$/.test(model) ? { adapterId: model } : {}),
      ...(user ? { subjectId: user } : {}),
      maxTokens: max_completion_tokens ?? max_tokens ?? undefined,
      temperature: temperature ?? undefined,
    },
    body: Object.fromEntries(PASSED.flatMap((name) => (parsed.data[name] == null ? [] : [[name, parsed.data[name]]]))),
    isStream: stream === true,
    includesUsage: stream_options?.include_usage === true,
  };
}

/** The headers by which an answer can be found again; ids are those of {@link headerValue}. */
function headersOf({ id, adapterId, memory, receipt }: GenerationHead): Record<string, string> {
  return {
    "x-clara-generation-id": id,
    ...(adapterId ? { "x-clara-adapter-id": headerValue(adapterId) } : {}),
    ...(receipt ? { "x-clara-receipt": receipt } : {}),
    ...(memory?.length ? { "x-clara-memory": memory.map(({ feedbackId }) => headerValue(feedbackId)).join(", ") } : {}),
  };
}

/** Headers are ASCII: what is beyond it is percent-encoded, as in a URL. */
function headerValue(id: string): string {
  return encodeURI(id.toWellFormed());
}

/** A whole answer in OpenAI's shape: the engine's own body under our id, or one made of the result. */
export function chatResponse(result: GenerationResult, engineBody: unknown): Response {
  const own = {
    object: "chat.completion",
    created: seconds(),
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: result.text,
          ...(result.toolCalls ? { tool_calls: result.toolCalls.map(openAiCall) } : {}),
        },
        finish_reason: result.toolCalls ? "tool_calls" : result.finishReason,
      },
    ],
    usage: usageOf(result.usage),
  };
  const body = isOpenAi(engineBody) ? engineBody : own;
  return Response.json({ ...body, id: result.id, model: result.model }, { headers: headersOf(result) });
}

/** A streamed answer in OpenAI's shape. Waits for the first piece, so that what fails before it has a status of its own. */
export async function chatStreamResponse(stream: GenerationStream, includesUsage: boolean, head: () => GenerationHead): Promise<Response> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* chunks(): AsyncGenerator<GenerationChunk> {
    try {
      for (let step = first; !step.done; step = await iterator.next()) yield step.value;
    } finally {
      await iterator.return?.();
    }
  }
  const created = seconds();
  const event = (choices: object[], more: object = {}) =>
    eventOf(undefined, { id: stream.id, object: "chat.completion.chunk", created, model: "", choices, ...more });
  let isRaw = false;
  return serverSentResponse(
    chunks(),
    (chunk: StreamPiece) => {
      if (chunk.raw !== undefined) {
        isRaw = true;
        return rawEvents(chunk.raw, stream.id, includesUsage);
      }
      const delta = { content: chunk.text, ...(chunk.toolCalls ? { tool_calls: chunk.toolCalls.map(openAiDelta) } : {}) };
      return [event([{ index: 0, delta, finish_reason: null }])];
    },
    {
      headers: headersOf(head()),
      onEnd: async () => {
        const result = await stream.result;
        const last = [event([{ index: 0, delta: {}, finish_reason: result.toolCalls ? "tool_calls" : result.finishReason }])];
        const usage = includesUsage ? [event([], { usage: usageOf(result.usage) })] : [];
        return [...(isRaw ? [] : [...last, ...usage]), eventOf(undefined, "[DONE]")];
      },
      onError: (error) => [eventOf(undefined, { error: openAiError(error) }), eventOf(undefined, "[DONE]")],
    },
  );
}

/** The engine's event under our id; the one with the usage only where the client asked for it. */
function rawEvents(raw: string, id: string, includesUsage: boolean): string[] {
  const event = JSON.parse(raw) as { choices?: unknown[]; usage?: unknown };
  if (!includesUsage && event.usage != null && event.choices?.length === 0) return [];
  return [eventOf(undefined, { ...event, id })];
}

/** An error as OpenAI's clients expect it. */
export function chatErrorResponse(reason: unknown): Response {
  const error = asClaraError(reason);
  const retryAfter = error instanceof OverloadedError ? { "retry-after": String(Math.ceil(error.retryAfterMs / 1_000)) } : undefined;
  return Response.json({ error: openAiError(error) }, { status: statusOf(error), headers: retryAfter });
}

const STATUSES: Partial<Record<ClaraError["code"], number>> = {
  input_invalid: 400,
  payload_too_large: 413,
  adapter_not_found: 404,
  model_not_found: 404,
  adapter_state_conflict: 409,
  rate_limited: 429,
  overloaded: 429,
  request_timeout: 504,
  aborted: 499,
  engine_unavailable: 503,
  runtime_unavailable: 503,
  runtime_not_installed: 503,
};

function statusOf(error: ClaraError): number {
  const engineStatus = error.details.status;
  if (error.code === "engine_error" && typeof engineStatus === "number" && engineStatus >= 400 && engineStatus < 500) return engineStatus;
  return STATUSES[error.code] ?? 502;
}

function openAiError(error: ClaraError): object {
  const { field } = error.details;
  const type = statusOf(error) < 500 ? "invalid_request_error" : "server_error";
  return { message: error.message, type, code: error.code, param: typeof field === "string" ? field : null };
}

function openAiCall({ id, ...called }: { id: string; name: string; arguments: string }): object {
  return { id, type: "function", function: called };
}

function openAiDelta({ index, id, name, arguments: part }: NonNullable<GenerationChunk["toolCalls"]>[number]): object {
  return { index, ...(id === undefined ? {} : { id, type: "function" }), function: { name, arguments: part } };
}

function usageOf({ promptTokens, completionTokens }: GenerationResult["usage"]): object {
  return { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens };
}

function isOpenAi(body: unknown): body is object {
  return typeof body === "object" && body !== null && (body as { object?: unknown }).object === "chat.completion";
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}
