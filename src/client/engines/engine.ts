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
  /** SHA-256 of the weights in memory, where the engine says so. */
  sha256: string | null;
}

/** What an engine says of itself; null where it does not say. */
export interface EngineDescription {
  version: string | null;
  /** Every model that it serves, adapters too. */
  models: ServedModel[];
  /** Tokens of prompt and answer together. */
  maxModelLength: number | null;
  /** Largest rank of an adapter. */
  maxLoraRank: number | null;
  /** Adapters that answer at the same time; more take turns. */
  adapterSlots: number | null;
  /** Changes with every start of its process. */
  instance: string | null;
}

/** A greedy answer with the log-probability of each of its tokens. */
export interface ScoredAnswer {
  text: string;
  tokens: ScoredToken[];
}

export interface ScoredToken {
  /** Null where the engine only says its text. */
  id: number | null;
  text: string;
  /** Nats. */
  logprob: number;
  /** The likeliest tokens in its place, as far as the engine says so. */
  top: { id: number | null; text: string; logprob: number }[];
}

/** One kind of serving engine; every method speaks to the endpoint of its attempt and fails with `AttemptError` only. */
export interface Engine {
  /** The whole answer at once. */
  complete(attempt: Attempt, question: EngineQuestion): Promise<CompletionEvent>;
  /** Opens a stream; the texts are then pulled. */
  stream(attempt: Attempt, question: EngineQuestion): Promise<CompletionStream>;
  /** A greedy answer with its log-probabilities, for proofs. */
  score(attempt: Attempt, question: Pick<EngineQuestion, "model" | "messages" | "maxTokens">): Promise<ScoredAnswer>;
  /** What the engine says it is. */
  describe(attempt: Attempt): Promise<EngineDescription>;
  /** What is served now. */
  models(attempt: Attempt): Promise<ServedModel[]>;
  /** Makes an adapter available under its id. */
  loadAdapter(attempt: Attempt, adapter: { id: string; path: string }): Promise<"loaded" | "already_loaded">;
  unloadAdapter(attempt: Attempt, id: string): Promise<"unloaded" | "not_loaded">;
  /** Resolves where the engine is ready. */
  ping(attempt: Attempt): Promise<void>;
}
