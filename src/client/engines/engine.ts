import type { ConversationTurn } from "../../types/common.js";
import type { Attempt } from "../http/attempt.js";
import type { CompletionStream } from "./completion-stream.js";
import type { CompletionEvent } from "./completion-wire.js";

/** A question for an engine, with every default filled in. */
export interface EngineQuestion {
  model: string;
  messages: readonly ConversationTurn[];
  maxTokens: number;
  temperature: number;
  topP?: number;
  stop?: string | readonly string[];
  seed?: number;
}

/** A model that an engine serves. */
export interface ServedModel {
  id: string;
  /** Folder, where the engine says so. */
  path: string | null;
  isAdapter: boolean;
}

/** One kind of serving engine; every method speaks to the endpoint of its attempt and fails with `AttemptError` only. */
export interface Engine {
  /** The whole answer at once. */
  complete(attempt: Attempt, question: EngineQuestion): Promise<CompletionEvent>;
  /** Opens a stream; the texts are then pulled. */
  stream(attempt: Attempt, question: EngineQuestion): Promise<CompletionStream>;
  /** What is served now. */
  models(attempt: Attempt): Promise<ServedModel[]>;
  /** Makes an adapter available under its id. */
  loadAdapter(attempt: Attempt, adapter: { id: string; path: string }): Promise<"loaded" | "already_loaded">;
  unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded">;
  /** Resolves where the engine is ready. */
  ping(attempt: Attempt): Promise<void>;
}
