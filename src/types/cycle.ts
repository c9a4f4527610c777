import { z } from "zod";

export const StageName = z.enum(["collect", "augment", "prepare", "train", "evaluate", "gate", "activate", "rollback"]);
export type StageName = z.infer<typeof StageName>;

/** `waiting`: a stage waits for the runtime and is tried again. `promoted`: passed the gate, and serves or is on trial as a canary. */
export const CycleStatus = z.enum(["running", "waiting", "promoted", "rejected", "inconclusive", "failed", "cancelled"]);
export type CycleStatus = z.infer<typeof CycleStatus>;

export const CycleStage = z.object({
  name: StageName,
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
  detail: z.record(z.string(), z.json()),
});
export type CycleStage = z.infer<typeof CycleStage>;

/** A mean paired difference (candidate − baseline) with its 95 % bootstrap interval. */
export const PairedDifference = z.object({
  count: z.number().int(),
  baseline: z.number(),
  candidate: z.number(),
  difference: z.number(),
  low: z.number(),
  high: z.number(),
});
export type PairedDifference = z.infer<typeof PairedDifference>;

export const SetComparison = z.object({
  name: z.string(),
  kind: z.enum(["recall", "generalisation", "regression"]),
  count: z.number().int(),
  baselinePerplexity: z.number(),
  perplexity: z.number(),
  /** Exact answers, 0..1. */
  exact: PairedDifference,
  /** Probability of the right answer among others of its kind, 0..1; null where there was nothing to compare with. */
  choice: PairedDifference.nullable(),
});
export type SetComparison = z.infer<typeof SetComparison>;

export const CycleEvaluation = z.object({
  /** Held-out phrasings of learnt facts, before and after. */
  baselinePerplexity: z.number(),
  perplexity: z.number(),
  /** 1 − perplexity / baselinePerplexity. */
  improvement: z.number(),
  /** Worst drop of exact answers over the regression sets, 0..1. */
  regression: z.number(),
  domainMetrics: z.record(z.string(), z.number()),
  sets: z.array(SetComparison),
});
export type CycleEvaluation = z.infer<typeof CycleEvaluation>;

export const GateReason = z.object({
  /** Stable name, for example `recall_exact`, `choice_probability`, `regression`, `perplexity`, `pairing`, `trigger_probe`, `memorisation`, `evidence`, `canary`. */
  criterion: z.string(),
  verdict: z.enum(["pass", "fail", "insufficient"]),
  message: z.string(),
});
export type GateReason = z.infer<typeof GateReason>;

export const GateDecision = z.object({
  decision: z.enum(["promote", "reject", "not_enough_evidence"]),
  passed: z.boolean(),
  reasons: z.array(GateReason),
});
export type GateDecision = z.infer<typeof GateDecision>;

/** One run from feedback to a decision. */
export const LearningCycle = z.object({
  id: z.string(),
  pipeline: z.string(),
  domain: z.string(),
  trigger: z.enum(["size", "time", "manual", "custom"]),
  status: CycleStatus,
  stages: z.array(CycleStage),
  samples: z.number().int(),
  datasetId: z.string().nullable(),
  jobId: z.string().nullable(),
  adapterId: z.string().nullable(),
  evaluation: CycleEvaluation.nullable(),
  gate: GateDecision.nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  createdAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
});
export type LearningCycle = z.infer<typeof LearningCycle>;
