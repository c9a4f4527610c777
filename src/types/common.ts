import { z } from "zod";

/** Last argument of every asynchronous public method. */
export interface CallOptions {
  /** Aborts the call: it rejects with `AbortedError`; what it had not committed is undone. */
  signal?: AbortSignal;
}

/** Free key–value data of the host; JSON values only. */
export const Metadata = z.record(z.string(), z.json());
export type Metadata = z.infer<typeof Metadata>;

/** Name of a training configuration, a domain, an adapter: lower case, digits, `_`, `-`. */
export const Slug = z
  .string()
  .regex(/^[a-z0-9_-]+$/, "use lower-case letters, digits, '_' and '-' only")
  .max(64);

/** The domain of samples that name none. */
export const DEFAULT_DOMAIN = "general";

/** A call of one of the application's functions that the model asks for. */
export const ToolCall = z.object({
  id: z.string(),
  name: z.string(),
  /** JSON, as the model wrote it; it may be broken. */
  arguments: z.string(),
});
export type ToolCall = z.infer<typeof ToolCall>;

/** One turn of a chat. */
export const ConversationTurn = z.object({
  role: z.enum(["system", "user", "assistant", "tool"]),
  content: z.string(),
  /** Of an assistant's turn: what it asked for. */
  toolCalls: z.array(ToolCall).optional(),
  /** Of a tool's turn: which call its content answers. */
  toolCallId: z.string().optional(),
});
export type ConversationTurn = z.infer<typeof ConversationTurn>;

/** A pino-shaped logger; every field optional data first, message second. */
export interface Logger {
  debug(data: object, message?: string): void;
  info(data: object, message?: string): void;
  warn(data: object, message?: string): void;
  error(data: object, message?: string): void;
}

/** Turns texts into vectors of `dimensions` numbers each. */
export interface Embedder {
  /** Stable name, stored beside vectors so that a change of embedder is noticed. */
  readonly name: string;
  readonly dimensions: number;
  embed(texts: readonly string[], options?: CallOptions): Promise<number[][]>;
}

/** Where a runtime or an engine listens; asked before each call, so that a restarted local process is found again. */
export interface EndpointProvider {
  /** Short name for messages, for example `local runtime`. */
  readonly name: string;
  /** Starts what must be started. Rejects with `RuntimeUnavailableError` naming what to start. */
  resolve(options?: CallOptions): Promise<Endpoint>;
}

/** Base URL (without `/v1`) and bearer token of a runtime or an engine. */
export interface Endpoint {
  url: string;
  token?: string;
}
