import { z } from "zod";

/** The part of a chat completion, whole or one streamed event, that the client reads. */
export interface CompletionEvent {
  text: string;
  finishReason: string | null;
  model: string | null;
  usage: { promptTokens: number; completionTokens: number } | null;
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
  const event = parse(data);
  const choices = event.choices;
  if (!Array.isArray(choices)) throw new NotACompletion("an event has no choices");
  const choice = choices[0] as { delta?: { content?: unknown } | null; text?: unknown; finish_reason?: unknown } | undefined;
  const text = choice?.delta?.content ?? choice?.text ?? "";
  if (typeof text !== "string") throw new NotACompletion("the text of an event is not a string");
  const finish = choice?.finish_reason;
  return {
    text,
    finishReason: typeof finish === "string" ? finish : null,
    model: typeof event.model === "string" ? event.model : null,
    usage: event.usage == null ? null : readUsage(event.usage),
  };
}

/** Reads a whole chat completion. Throws `NotACompletion`. */
export function readCompletion(body: unknown): CompletionEvent {
  const parsed = Completion.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new NotACompletion(`${issue?.path.join(".")}: ${issue?.message}`, (body as { error?: unknown } | null)?.error);
  }
  const { choices, model, usage } = parsed.data;
  return {
    text: choices[0]!.message.content ?? "",
    finishReason: choices[0]!.finish_reason ?? null,
    model: model ?? null,
    usage: usage == null ? null : readUsage(usage),
  };
}

const Completion = z.object({
  model: z.string().optional(),
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }), finish_reason: z.string().nullish() })).min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number().optional() }).nullish(),
});

function parse(data: string): Record<string, unknown> {
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
