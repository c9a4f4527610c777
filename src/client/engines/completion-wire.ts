import { z } from "zod";
import type { ToolCall } from "../../types/common.js";
import type { ToolCallPiece } from "./tool-call-pieces.js";

/** The part of a chat completion, whole or one streamed event, that the client reads. */
export interface CompletionEvent {
  text: string;
  toolCalls?: ToolCallPiece[];
  finishReason: string | null;
  model: string | null;
  usage: { promptTokens: number; completionTokens: number } | null;
  /** True where nothing comes after it, for wire formats whose last event says so itself. */
  isLast?: boolean;
}

/** A whole chat completion. */
export interface Completion extends Omit<CompletionEvent, "toolCalls" | "isLast"> {
  toolCalls?: ToolCall[];
  /** The engine's own answer. */
  body: unknown;
}

/** An event that is not a completion: the engine's complaint, or a description of what is wrong. */
export class NotACompletion extends Error {
  /** The event's `error` object, where it has one. */
  readonly complaint: unknown;

  constructor(message: string, complaint: unknown = undefined) {
    super(message);
    this.complaint = complaint;
  }
}

/**
 * Reads one event of a chat stream. By hand, not by a schema: this runs once a token.
 * Throws `NotACompletion`.
 */
export function readStreamEvent(data: string): CompletionEvent {
  const event = parseEvent(data);
  const choices = event.choices;
  if (!Array.isArray(choices)) throw new NotACompletion("an event has no choices");
  const choice = choices[0] as StreamedChoice | undefined;
  const text = choice?.delta?.content ?? choice?.text ?? "";
  if (typeof text !== "string") throw new NotACompletion("the text of an event is not a string");
  const finish = choice?.finish_reason;
  const toolCalls = choice?.delta?.tool_calls;
  return {
    text,
    // always there: a spread of it or nothing takes as long as all the rest but the parsing
    toolCalls: Array.isArray(toolCalls) && toolCalls.length > 0 ? toolCalls.map(readToolCallPiece) : undefined,
    finishReason: typeof finish === "string" ? finish : null,
    model: typeof event.model === "string" ? event.model : null,
    usage: event.usage == null ? null : readUsage(event.usage),
  };
}

interface StreamedChoice {
  delta?: { content?: unknown; tool_calls?: unknown } | null;
  text?: unknown;
  finish_reason?: unknown;
}

function readToolCallPiece(value: unknown): ToolCallPiece {
  const { index, id, function: called } = (value ?? {}) as { index?: unknown; id?: unknown; function?: unknown };
  const { name, arguments: part } = (called ?? {}) as { name?: unknown; arguments?: unknown };
  if (typeof value !== "object" || value === null) throw new NotACompletion("a tool call is not an object");
  if (part != null && typeof part !== "string") throw new NotACompletion("the arguments of a tool call are not a string");
  return {
    ...(typeof index === "number" ? { index } : {}),
    ...(typeof id === "string" ? { id } : {}),
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof part === "string" ? { arguments: part } : {}),
  };
}

/** Reads a whole chat completion. Throws `NotACompletion`. */
export function readCompletion(body: unknown): Completion {
  const { choices, model, usage } = parseAnswer(CompletionBody, body);
  const { message, finish_reason } = choices[0]!;
  const toolCalls = message.tool_calls?.map(({ id, function: called }) => ({ id: id ?? "", ...called }));
  return {
    text: message.content ?? "",
    ...(toolCalls && toolCalls.length > 0 ? { toolCalls } : {}),
    finishReason: finish_reason ?? null,
    model: model ?? null,
    usage: usage == null ? null : readUsage(usage),
    body,
  };
}

const CompletionBody = z.object({
  model: z.string().optional(),
  choices: z
    .array(
      z.object({
        message: z.object({
          content: z.string().nullish(),
          tool_calls: z
            .array(z.object({ id: z.string().nullish(), function: z.object({ name: z.string(), arguments: z.string() }) }))
            .nullish(),
        }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number().optional() }).nullish(),
});

/** A whole answer of this shape; what else came, or the engine's complaint in it, is a `NotACompletion`. */
export function parseAnswer<Shape extends z.ZodType>(shape: Shape, body: unknown): z.infer<Shape> {
  const parsed = shape.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new NotACompletion(`${issue?.path.join(".")}: ${issue?.message}`, (body as { error?: unknown } | null)?.error);
}

/** An event as an object; an engine that broke off in its midst says so by an `error` in it. Throws `NotACompletion`. */
export function parseEvent(data: string): Record<string, unknown> {
  let event: unknown;
  try {
    event = JSON.parse(data);
  } catch {
    throw new NotACompletion("an event is not JSON");
  }
  if (typeof event !== "object" || event === null) throw new NotACompletion("an event is not an object");
  const { error } = event as { error?: unknown };
  if (error != null) throw new NotACompletion("the engine broke off", error);
  return event as Record<string, unknown>;
}

function readUsage(usage: unknown): { promptTokens: number; completionTokens: number } {
  const { prompt_tokens: prompt, completion_tokens: completion } = usage as { prompt_tokens?: unknown; completion_tokens?: unknown };
  return { promptTokens: typeof prompt === "number" ? prompt : 0, completionTokens: typeof completion === "number" ? completion : 0 };
}
