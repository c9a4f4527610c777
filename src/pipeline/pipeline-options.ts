import { ConfigurationError } from "../errors.js";
import { requireKnown, requireOneOf } from "../support/known-options.js";
import type { Logger } from "../types/common.js";
import type { PreparationOptions } from "../types/dataset.js";
import type { TrainerType, TrainingOverrides } from "../types/job.js";
import { CANARY_DEFAULTS, type CanaryOptions, checkCanaryOptions } from "./canary/canary-options.js";
import type { CycleEvaluator } from "./evaluator.js";
import { checkFirewallOptions, FIREWALL_DEFAULTS, type FirewallOptions } from "./firewall/firewall-options.js";
import { GATE_DEFAULTS, type GateOptions } from "./gate/gate-options.js";
import type { HoldoutShares } from "./ports.js";
import type { TenantMode } from "./tenants.js";
import type { DomainState } from "./triggers.js";

/** When a cycle starts, and what a batch must be to be trusted. */
export interface TriggerOptions {
  /** Imitable samples of a domain that start a cycle. Default 50. */
  size: number;
  /** Seconds since the domain's last cycle (or its first waiting sample) that start one, if there are `minSamples`. Default 300. */
  timeSeconds: number;
  /** Imitable samples below which no cycle starts, also by hand. Default 10. */
  minSamples: number;
  /** Distinct people a batch must come from before it is trusted. Default 5; 1 where you try it alone and name yourself. */
  minDistinctSubjects: number;
  /**
   * Samples without `subjectId`: `one` counts them as one person; `exempt` (default) does too, but lifts the rule about people where
   * nobody in the batch is named, because the host then has no identities; `distinct` counts each as a person of its own.
   */
  anonymous: "exempt" | "one" | "distinct";
  /**
   * Largest share (0..1) of a batch that one person may give; the rest waits. Default .25; with hundreds of users .1 is wise. Where fewer
   * people gave anything than the share needs, each may give an equal part.
   */
  maxSubjectShare: number;
  /** Milliseconds between the end of a domain's cycle and the next automatic one; doubles with each failure in a row. Default 10,000. */
  cooldownMs: number;
  /**
   * Seconds of training within 24 hours after which no cycle starts by itself, counted over the pipeline's completed jobs, so that nobody can
   * keep the GPU busy by feedback. Default 28,800 (8 hours).
   */
  dailyTrainingSeconds: number;
  /** Milliseconds of quiet after an accepted feedback before triggers are looked at, so that a burst becomes one batch. Default 500. */
  debounceMs: number;
  /** Milliseconds between looks at the triggers and at cycles that others left. Default 5,000. */
  intervalMs: number;
  /** Asked for every domain with `minSamples`; true starts a cycle. */
  custom?: (state: DomainState) => boolean | Promise<boolean>;
}

/** What must stay as it was: either pairs, or prompts that the base model answers once. */
export interface GeneralSetOptions {
  /** Pairs replayed in training. */
  replay?: readonly { prompt: string; response: string }[];
  /** Pairs only tested on; keep them disjoint from `replay`. */
  holdout?: readonly { prompt: string; response: string }[];
  /** Prompts whose answers by the base model are the anchor; one half is replayed, the other tested. Default: a built-in list. */
  prompts?: readonly string[];
}

/** Options of `ContinuousLearningPipeline`; every field has a default. */
export interface PipelineOptions {
  /** Separates pipelines in one database. Default `default`. */
  name?: string;
  /** Waiting imitable samples per domain; more is refused with `buffer_full`. Default 500. */
  bufferCapacity?: number;
  triggers?: Partial<TriggerOptions>;
  gate?: Partial<GateOptions>;
  /** How what passed the gate is tried on users first. */
  canary?: Partial<CanaryOptions>;
  /** What stands between feedback and training. */
  firewall?: Partial<FirewallOptions>;
  /** Quality score (0..1) from which a feedback that does not pass is doubtful and goes to review. Default .4. */
  reviewFrom?: number;
  /**
   * Whose feedback trains which adapter. `separate` (default): a tenant's feedback (`metadata.tenant`) is learnt in domains of its own, named
   * `<tenant>--<domain>`, whose adapters answer that tenant only. `shared`: all tenants of a domain train one adapter that answers them all;
   * choose it only where every tenant has agreed.
   */
  tenants?: TenantMode;
  /** Trainer of the cycles. Default `lora`. `continuous` goes on from what serves; a domain's first adapter is trained by `lora`. */
  trainer?: TrainerType;
  /** Changes to the trainer's settings. */
  overrides?: TrainingOverrides;
  /** Priority of the training jobs, 1..5. Default 3. */
  priority?: number;
  preparation?: PreparationOptions;
  /** Held-out shares, handed to the dataset manager; default: its own. */
  holdout?: HoldoutShares;
  /** The general set; false: none. Default: built-in prompts, answered by the base model. */
  general?: GeneralSetOptions | false;
  /** Adds search results to the batch. Default false. */
  augmentWithSearch?: boolean;
  /** Earlier samples of the domain that are replayed, because a cycle trains a fresh adapter. Default 1,000. */
  maxReplay?: number;
  /** Items of each other domain that are tested as a regression set. Default 24; 0: none. */
  otherDomainItems?: number;
  /** More judges of a candidate. */
  evaluators?: readonly CycleEvaluator[];
  /** Cycles that may fail on a sample before it is quarantined. Default 3. */
  maxSampleAttempts?: number;
  /** First wait after a retryable failure, doubled up to 5 minutes. Default 2,000 ms. */
  retryDelayMs?: number;
  /**
   * File outside of the database and its backups that each erasure is added to, with the SHA-256 of the person's id: what a restored backup
   * brings back is erased again at the next start. Default: none; `createClara` takes `erasures.jsonl` in its `runtimeDir`.
   */
  erasureLog?: string;
  /** How long a crashed process's cycle stays its own. Default 30,000 ms. */
  leaseMs?: number;
  logger?: Logger;
  /** Milliseconds since 1970; for tests of the triggers. */
  clock?: () => number;
  /** Awaited at named points of a cycle; for tests of crashes. */
  failpoint?: (name: string) => void | Promise<void>;
}

/** The options with their defaults. */
export type ResolvedPipelineOptions = Readonly<
  Required<
    Omit<
      PipelineOptions,
      | "triggers"
      | "gate"
      | "canary"
      | "firewall"
      | "overrides"
      | "preparation"
      | "holdout"
      | "general"
      | "erasureLog"
      | "logger"
      | "failpoint"
    >
  > &
    Pick<PipelineOptions, "overrides" | "preparation" | "holdout" | "erasureLog" | "logger" | "failpoint"> & {
      triggers: TriggerOptions;
      gate: GateOptions;
      canary: CanaryOptions;
      firewall: FirewallOptions;
      general: GeneralSetOptions | false;
    }
>;

/** The defaults of when cycles start. */
export const TRIGGER_DEFAULTS: Readonly<TriggerOptions> = Object.freeze({
  size: 50,
  timeSeconds: 300,
  minSamples: 10,
  minDistinctSubjects: 5,
  anonymous: "exempt",
  maxSubjectShare: 0.25,
  cooldownMs: 10_000,
  dailyTrainingSeconds: 8 * 3_600,
  debounceMs: 500,
  intervalMs: 5_000,
});

/** Every option, so that a misspelt one is refused. */
const KNOWN: Readonly<Record<keyof PipelineOptions, true>> = {
  name: true,
  bufferCapacity: true,
  triggers: true,
  gate: true,
  canary: true,
  firewall: true,
  reviewFrom: true,
  tenants: true,
  trainer: true,
  overrides: true,
  priority: true,
  preparation: true,
  holdout: true,
  general: true,
  augmentWithSearch: true,
  maxReplay: true,
  otherDomainItems: true,
  evaluators: true,
  maxSampleAttempts: true,
  retryDelayMs: true,
  erasureLog: true,
  leaseMs: true,
  logger: true,
  clock: true,
  failpoint: true,
};

/** Fills in the defaults and refuses what cannot work. */
export function resolvePipelineOptions(options: PipelineOptions = {}): ResolvedPipelineOptions {
  requireKnown("pipeline", options, KNOWN);
  requireKnown("pipeline.triggers", options.triggers ?? {}, { ...TRIGGER_DEFAULTS, custom: true });
  requireKnown("pipeline.gate", options.gate ?? {}, GATE_DEFAULTS);
  requireKnown("pipeline.canary", options.canary ?? {}, CANARY_DEFAULTS);
  const resolved = {
    name: "default",
    bufferCapacity: 500,
    reviewFrom: 0.4,
    tenants: "separate" as const,
    trainer: "lora" as const,
    priority: 3,
    augmentWithSearch: false,
    maxReplay: 1_000,
    otherDomainItems: 24,
    evaluators: [],
    maxSampleAttempts: 3,
    retryDelayMs: 2_000,
    leaseMs: 30_000,
    clock: Date.now,
    ...withoutUndefined(options),
    general: options.general ?? {},
    triggers: { ...TRIGGER_DEFAULTS, ...withoutUndefined(options.triggers ?? {}) } as TriggerOptions,
    gate: { ...GATE_DEFAULTS, ...withoutUndefined(options.gate ?? {}) },
    firewall: checkFirewallOptions({ ...FIREWALL_DEFAULTS, ...withoutUndefined(options.firewall ?? {}) }),
    canary: checkCanaryOptions({ ...CANARY_DEFAULTS, ...withoutUndefined(options.canary ?? {}) }),
  };
  const { triggers } = resolved;
  atLeast("bufferCapacity", resolved.bufferCapacity, 1);
  atLeast("leaseMs", resolved.leaseMs, 1_000);
  atLeast("triggers.size", triggers.size, 1);
  atLeast("triggers.minSamples", triggers.minSamples, 1);
  atLeast("triggers.minDistinctSubjects", triggers.minDistinctSubjects, 1);
  atLeast("triggers.dailyTrainingSeconds", triggers.dailyTrainingSeconds, 1);
  requireOneOf("pipeline.tenants", resolved.tenants, ["separate", "shared"]);
  requireOneOf("pipeline.triggers.anonymous", triggers.anonymous, ["exempt", "one", "distinct"]);
  if (!(triggers.maxSubjectShare > 0 && triggers.maxSubjectShare <= 1)) {
    throw new ConfigurationError(
      "config_invalid",
      `pipeline.triggers.maxSubjectShare is ${triggers.maxSubjectShare}; give a share above 0 and up to 1.`,
    );
  }
  if (triggers.size > resolved.bufferCapacity) {
    throw new ConfigurationError(
      "config_invalid",
      `pipeline.triggers.size (${triggers.size}) is above pipeline.bufferCapacity (${resolved.bufferCapacity}): the buffer would fill up before a cycle starts.`,
    );
  }
  return Object.freeze(resolved);
}

function atLeast(name: string, value: number, least: number): void {
  if (!(value >= least)) throw new ConfigurationError("config_invalid", `pipeline.${name} is ${value}; it must be at least ${least}.`);
}

function withoutUndefined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}
