import type { ConversationTurn } from "../../types/common.js";
import type { ResponseFormat, ToolDefinition } from "../../types/generation.js";
import type { Attempt } from "../http/attempt.js";
import type { CompletionStream } from "./completion-stream.js";
import type { Completion } from "./completion-wire.js";

/** A question for an engine, with every default filled in. */
export interface EngineQuestion {
  model: string;
  messages: readonly ConversationTurn[];
  maxTokens: number;
  temperature: number;
  topP?: number;
  stop?: string | readonly string[];
  seed?: number;
  responseFormat?: ResponseFormat;
  tools?: readonly ToolDefinition[];
  toolChoice?: "auto" | "none" | "required" | { name: string };
  /** Keeps the prompt apart in an engine's prefix cache: only requests with the same one may share what is cached. */
  cacheSalt?: string;
  /** A body in OpenAI's shape that is sent as it is, but for the model; the fields above then only describe it. */
  body?: Readonly<Record<string, unknown>>;
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

/** What an engine's kind can do. */
export interface EngineTraits {
  /** Adapters come and go while it serves. */
  loadsAdapters: boolean;
  /** Its answers come with log-probabilities and the ids of their tokens, so that an adapter can be proven. */
  scoresAnswers: boolean;
  /** Its list of models is whole: what is not in it is not served. */
  listsModels: boolean;
  /** Takes and gives OpenAI's bodies as they are. */
  speaksOpenAi: boolean;
}

/** One kind of serving engine; every method speaks to the endpoint of its attempt and fails with `AttemptError` only. */
export interface Engine {
  readonly traits: EngineTraits;
  /** The whole answer at once. */
  complete(attempt: Attempt, question: EngineQuestion): Promise<Completion>;
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
