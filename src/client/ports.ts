import type { ConversationTurn } from "../types/common.js";
import type { RecordedGeneration } from "../types/generation.js";
import type { RoutingDecision } from "../types/routing.js";

/** What chooses the adapter of a request; `AdapterRouter` is one. */
export interface RequestRouter {
  route(messages: readonly ConversationTurn[], options: { domain?: string; signal?: AbortSignal }): Promise<RoutingDecision>;
}

/** Where a registered adapter's files are, so that a restarted engine gets it again; `AdapterRouter` is one. */
export interface AdapterDirectory {
  getAdapter(id: string): Promise<{ id: string; path: string }>;
}

/** Keeps served answers, so that later feedback finds them by id. Must not block; what it throws is logged only. */
export interface GenerationRecorder {
  record(generation: RecordedGeneration): void;
}

export type { RecordedGeneration };
