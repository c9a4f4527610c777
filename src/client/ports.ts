import type { AdapterIdentity } from "../types/adapter.js";
import type { CallOptions, ConversationTurn, Metadata } from "../types/common.js";
import type { RecordedGeneration } from "../types/generation.js";
import type { RecalledCorrection } from "../types/memory.js";
import type { RoutingDecision } from "../types/routing.js";

/** What chooses the adapter of a request; `AdapterRouter` is one. */
export interface RequestRouter {
  route(
    messages: readonly ConversationTurn[],
    options: { domain?: string; subjectId?: string; tenant?: string; signal?: AbortSignal },
  ): Promise<RoutingDecision>;
}

/** Where a registered adapter's files are, and by what it is known, so that every engine gets it and shows it; `AdapterRouter` is one. */
export interface AdapterDirectory {
  /** With a `revokedReason` the adapter can never serve again, and no engine gets it. */
  getAdapter(id: string, options?: CallOptions): Promise<{ id: string; path: string; revokedReason?: string }>;
  /** What the trainer recorded of it; null: nothing. Without the method no engine is asked for proof. */
  adapterIdentity?(id: string, options?: CallOptions): Promise<AdapterIdentity | null>;
  /**
   * Why an adapter can never serve again; null: it may. Asked with every request that pins an adapter, so it must answer from memory, and
   * its memory must not be older than a withdrawal may go unnoticed (`AdapterRouter`: 5 s). Without the method no pin is refused.
   */
  revokedReason?(id: string, options?: CallOptions): Promise<string | null>;
}

/** Knows users' corrections that no adapter has learnt yet; `CorrectionMemory` is one. */
export interface CorrectionSource {
  recall(
    messages: readonly ConversationTurn[],
    options: { domain?: string; metadata?: Metadata; signal?: AbortSignal },
  ): Promise<RecalledCorrection[]>;
}

/**
 * Keeps served answers, so that later feedback finds them by id, and calls that the engines failed (`finishReason: "error"`). Must not
 * block; what it throws is logged only.
 */
export interface GenerationRecorder {
  record(generation: RecordedGeneration): void;
}

export type { RecordedGeneration };
