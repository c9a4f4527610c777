import type { GateDecision, GateReason } from "../../types/cycle.js";
import { evidenceCriterion, generalisationCriterion, perplexityCriterion, recallCriteria, regressionCriterion } from "./criteria.js";
import { type EvaluatorOutcome, evaluatorCriterion } from "./evaluators.js";
import type { SetEvidence } from "./evidence.js";
import type { GateOptions } from "./gate-options.js";

/** All that the gate decides by. */
export interface GateInput {
  evidence: readonly SetEvidence[];
  /** The verdict on question–answer pairing, if it was checked. */
  pairing: GateReason | null;
  /** Exact answers (0..1) of regression sets in the first evaluation of the base model, by set name. */
  anchors?: Readonly<Record<string, number>>;
  evaluators?: readonly EvaluatorOutcome[];
  /** What the probes for triggers and learnt secrets say. */
  probes?: readonly GateReason[];
}

/**
 * The gate: promotes only what is shown to be better than what serves now, and to have lost nothing. Any failed criterion
 * rejects; else any lack of evidence leaves everything as it is. Pure: the same input gives the same decision.
 */
export function decideGate(input: GateInput, options: GateOptions): GateDecision {
  const recall = input.evidence.find((set) => set.kind === "recall");
  const evidence = evidenceCriterion(recall, options);
  const reasons: GateReason[] = [evidence];
  if (recall !== undefined && evidence.verdict === "pass")
    reasons.push(...recallCriteria(recall, options), perplexityCriterion(recall, options));
  for (const set of input.evidence) {
    if (set.kind === "regression") reasons.push(regressionCriterion(set, input.anchors?.[set.name], options));
    if (set.kind === "generalisation") reasons.push(generalisationCriterion(set, options));
  }
  if (input.pairing !== null) reasons.push(input.pairing);
  reasons.push(...(input.probes ?? []));
  for (const outcome of input.evaluators ?? []) reasons.push(evaluatorCriterion(outcome, options));
  const decision = reasons.some((reason) => reason.verdict === "fail")
    ? "reject"
    : reasons.some((reason) => reason.verdict === "insufficient")
      ? "not_enough_evidence"
      : "promote";
  return { decision, passed: decision === "promote", reasons };
}
