import type { GateReason, PairedDifference } from "../../types/cycle.js";
import type { GateOptions } from "./gate-options.js";
import { pairedBootstrap } from "./statistics.js";

/** What a user-supplied evaluator gives back: values of the same items by both, or one score each. Higher is better. */
export type EvaluatorScores = { baseline: readonly number[]; candidate: readonly number[] } | { baseline: number; candidate: number };

/** An evaluator's scores with its name and demand. */
export interface EvaluatorOutcome {
  name: string;
  scores: EvaluatorScores;
  /** True: the candidate must be significantly better; else it must only not be significantly worse. */
  mustImprove: boolean;
}

/** Judges user-supplied metrics by the same paired interval as our own. */
export function evaluatorCriterion(outcome: EvaluatorOutcome, options: GateOptions): GateReason {
  const criterion = `evaluator:${outcome.name}`;
  const { baseline, candidate } = outcome.scores;
  if (typeof baseline === "number" || typeof candidate === "number") {
    const before = Number(baseline);
    const after = Number(candidate);
    const message = `${before} → ${after}`;
    if (!Number.isFinite(before) || !Number.isFinite(after)) return { criterion, verdict: "insufficient", message };
    if (after < before) return { criterion, verdict: "fail", message };
    return { criterion, verdict: outcome.mustImprove && after === before ? "insufficient" : "pass", message };
  }
  if (baseline.length !== candidate.length || baseline.length === 0) {
    const message = `${baseline.length} baseline and ${candidate.length} candidate values; give one each per item`;
    return { criterion, verdict: "insufficient", message };
  }
  if (![...baseline, ...candidate].every(Number.isFinite))
    return { criterion, verdict: "insufficient", message: "a value is not a number" };
  const difference: PairedDifference = pairedBootstrap(baseline, candidate, options);
  const message = `${difference.baseline.toFixed(3)} → ${difference.candidate.toFixed(3)} [${difference.low.toFixed(3)}, ${difference.high.toFixed(3)}], ${difference.count} items`;
  if (difference.high < 0) return { criterion, verdict: "fail", message };
  return { criterion, verdict: outcome.mustImprove && difference.low <= 0 ? "insufficient" : "pass", message };
}
