import type { Executor } from "../store/store.js";
import type { Adapter, AdapterInput } from "../types/adapter.js";
import type { Canary, CanaryEvidence } from "../types/canary.js";
import type { CallOptions, Metadata } from "../types/common.js";
import type { Dataset, DatasetItem, PreparationOptions, PreparedData, SplitName } from "../types/dataset.js";
import type { PairSketch, QualityReport, Sample } from "../types/feedback.js";
import type { GenerationResult } from "../types/generation.js";
import type { JobInput, TrainingJob } from "../types/job.js";
import type { RoutingDecision } from "../types/routing.js";
import type { EvaluatedModel, EvaluationSetKind } from "../types/runtime-protocol.js";
import type { SearchQuery, SearchResult } from "../types/search.js";

/** What the pipeline needs of a dataset manager. */
export interface DatasetsPort {
  quality: {
    check(sample: { prompt: string; response: string }, context?: { domain?: string } & CallOptions): Promise<QualityReport>;
    /** With `areAlike`: what is kept of a pair to find others that say the same. Without the two, clusters are not capped. */
    sketch?(pair: { prompt: string; response: string }): PairSketch;
    areAlike?(left: PairSketch, right: PairSketch): boolean;
  };
  prepareTrainingData(
    samples: readonly Sample[],
    options: PreparationOptions & { holdout?: HoldoutShares | boolean },
    callOptions?: CallOptions,
  ): Promise<PreparedData>;
  create(
    input: {
      name: string;
      description?: string;
      domain?: string;
      items: readonly DatasetItem[];
      lineage?: { cycleId?: string; feedbackIds?: number };
    },
    options?: CallOptions & { transaction?: Executor },
  ): Promise<Dataset>;
  items(id: string, options?: CallOptions & { split?: SplitName }): AsyncIterable<DatasetItem>;
  search?(query: SearchQuery, options?: CallOptions): Promise<SearchResult[]>;
  /** Takes a person's rows out of stored datasets; with `feedbackIds` only those that came from them. */
  eraseSubject?(subjectId: string, options?: CallOptions & { feedbackIds?: readonly string[]; transaction?: Executor }): Promise<unknown>;
}

/** Shares of held-out data. */
export interface HoldoutShares {
  recall?: number;
  generalisation?: number;
}

/** What the pipeline needs of a training client. */
export interface TrainingPort {
  createJob(input: JobInput, options?: CallOptions): Promise<TrainingJob>;
  getJob(id: string, options?: CallOptions): Promise<TrainingJob>;
  waitFor(id: string, options?: CallOptions): Promise<TrainingJob>;
  cancelJob?(id: string, options?: CallOptions): Promise<unknown>;
  /** Takes what people wrote out of jobs; their figures stay. */
  eraseTexts?(ids: readonly string[], options?: CallOptions): Promise<unknown>;
  evaluate(
    input: {
      models: { name: string; adapterPath: string | null }[];
      sets: { name: string; kind: EvaluationSetKind; items: { id: string; prompt: string; response: string; group?: string }[] }[];
    },
    options?: CallOptions,
  ): Promise<EvaluatedModel[]>;
}

/** What the pipeline needs of a router. */
export interface RouterPort {
  registerAdapter(input: AdapterInput, options?: CallOptions): Promise<Adapter>;
  getAdapter(id: string, options?: CallOptions): Promise<Adapter>;
  /** What serves the domain now, from memory; null = the base model. */
  activeAdapter(domain: string): Adapter | null;
  activateAdapter(id: string, options?: CallOptions & { transaction?: Executor }): Promise<unknown>;
  deactivateAdapter(id: string, options?: CallOptions): Promise<unknown>;
  rejectAdapter(id: string, reason: string, options?: CallOptions): Promise<unknown>;
  /** Withdraws a version for good: no activation, no rollback to it. Without it erasures use `rejectAdapter`. */
  withdrawAdapter?(id: string, reason: string, options?: CallOptions): Promise<unknown>;
  startCanary(
    id: string,
    start: { share: number; limitMs?: number; slowAboveMs?: number | null },
    options?: CallOptions & { transaction?: Executor },
  ): Promise<Canary>;
  endCanary(
    id: string,
    end: { status: Exclude<Canary["status"], "running">; reason: string; evidence?: CanaryEvidence },
    options?: CallOptions & { transaction?: Executor },
  ): Promise<Canary>;
  listCanaries(filter?: { domain?: string; status?: Canary["status"] }, options?: CallOptions): Promise<Canary[]>;
  /** Reads the registry again. */
  refresh?(options?: CallOptions): Promise<unknown>;
  /** Learns from a rating of a routed answer. */
  recordOutcome?(decisionId: string, reward: number, options?: CallOptions): Promise<unknown>;
}

/** What the pipeline needs of a serving client. */
export interface ServingPort {
  generate(
    request: { prompt: string; adapterId?: string | null; temperature?: number; maxTokens?: number; route?: boolean; metadata?: Metadata },
    options?: CallOptions,
  ): Promise<Pick<GenerationResult, "text">>;
  /** Loads it at every engine, which must show that it serves it, or at none. */
  loadAdapter(adapter: { id: string; path: string; predecessorId?: string | null }, options?: CallOptions): Promise<unknown>;
  unloadAdapter(id: string, options?: CallOptions): Promise<unknown>;
}

/** What the pipeline needs to resolve a `generationId`. */
export interface GenerationsPort {
  find(id: string, options?: CallOptions): Promise<FoundGeneration | null>;
  /** Deletes what a person asked, or with a tenant what they asked there; gives the number of deleted records. */
  eraseSubject?(subjectId: string, options?: CallOptions & { tenant?: string }): Promise<number>;
  /** Deletes records past their time; gives their number. */
  expire?(options?: CallOptions): Promise<number>;
}

/** A served answer, as feedback names it. */
export interface FoundGeneration {
  id: string;
  /** Null where texts are not stored. */
  prompt: string | null;
  response: string | null;
  /** SHA-256 of prompt and response where only their hash is stored. */
  textHash: string | null;
  adapterId: string | null;
  domain: string | null;
  subjectId: string | null;
  /** Its tenant; absent: none. */
  tenant?: string | null;
  /** The router's decision behind it. */
  decisionId: string | null;
  /** Where a canary ran: which of the two answered. */
  canary?: RoutingDecision["canary"] | null;
}
