import type { ConversationTurn } from "../types/common.js";
import type { GenerationResult } from "../types/generation.js";
import type { RoutingDecision } from "../types/routing.js";

/** What chooses the adapter of a request; `AdapterRouter` is one. */
export interface RequestRouter {
  route(messages: readonly ConversationTurn[], options: { domain?: string; signal?: AbortSignal }): Promise<RoutingDecision>;
}

/** Where a registered adapter's files are, so that a restarted engine gets it again; `AdapterRouter` is one. */
export interface AdapterDirectory {
  getAdapter(id: string): Promise<{ id: string; path: string }>;
}

/** A served answer with its question. */
export interface RecordedGeneration extends GenerationResult {
  /** Content of the last user message. */
  prompt: string;
  messages: readonly ConversationTurn[];
  subjectId?: string;
  /** The request's domain, or else the one that the router found. */
  domain?: string;
  metadata?: Record<string, unknown>;
  /** ISO 8601. */
  createdAt: string;
}

/** Keeps served answers, so that later feedback finds them by id. Must not block; what it throws is logged only. */
export interface GenerationRecorder {
  record(generation: RecordedGeneration): void;
}
