import type { RouterSettings, RoutingDecision } from "../types/routing.js";
import type { RecordedDecision } from "./decision-log.js";
import type { DomainVerdict } from "./domain-rules.js";
import type { ExplorationEvidence } from "./exploration.js";
import { FEATURE_NAMES, type RankingEvidence } from "./routing-table.js";

/** What was computed on the way to a decision; remembered, never computed again. */
export interface DecisionEvidence {
  /** In force at the time; settings objects are replaced, never changed. */
  settings: RouterSettings;
  hint: string | undefined;
  /** Rules of which a keyword was found, heaviest first. */
  rules: readonly DomainVerdict[];
  embedding: "not asked" | "off" | "no text" | "no examples" | "failed" | "ranked";
  ranking: RankingEvidence | null;
  exploration: ExplorationEvidence | null;
}

/** One of the ways to decide, in the order in which they are tried. */
export interface ExplainedStep {
  step: "pinned" | "domain" | "embedding" | "exploration" | "default";
  /** This step had the last word. */
  decided: boolean;
  reason: string;
}

/** Why a decision was made. */
export interface RoutingExplanation {
  decision: RoutingDecision;
  decidedAt: Date;
  /** Up to the one that decided. */
  steps: ExplainedStep[];
  /** Rules of which a keyword was found, with the keywords. */
  rules: DomainVerdict[];
  /** Best first; the features by name, as the head weighed them. */
  candidates: { adapterId: string; probability: number; features: Record<string, number> }[];
  thresholds: RouterSettings["thresholds"];
  /** Null where nothing was left to chance. */
  exploration: ExplorationEvidence | null;
  /** The outcome so far, -1..1. */
  reward: number | null;
  /** The same for people, a sentence each. */
  reasons: string[];
}

/** Puts what was remembered of a decision into words. */
export function explainDecision(record: RecordedDecision, evidence: DecisionEvidence): RoutingExplanation {
  const { decision, decidedAt, reward } = record;
  const steps = stepsOf(decision, evidence);
  const outcome = reward === null ? "No outcome was recorded yet." : `Its outcome so far is ${reward} (-1 to 1).`;
  return {
    decision,
    decidedAt,
    steps,
    rules: [...evidence.rules],
    candidates: decision.candidates.map(({ adapterId, score }) => ({
      adapterId,
      probability: score,
      features: featuresOf(adapterId, evidence.ranking),
    })),
    thresholds: evidence.settings.thresholds,
    exploration: evidence.exploration,
    reward,
    reasons: [...steps.map(({ reason }) => reason), ...canaryReason(decision), outcome],
  };
}

function canaryReason({ canary, domain, adapterId }: RoutingDecision): string[] {
  if (canary === undefined) return [];
  const answers = canary.arm === "canary" ? `${adapterId} on trial` : `${nameOf(adapterId)}, which it is compared with,`;
  return [`A canary of ${domain} runs (${canary.id}): ${answers} answers this user.`];
}

/** Empty right after a flip, when the version before was compared for the one that serves. */
function featuresOf(adapterId: string, ranking: RankingEvidence | null): Record<string, number> {
  const found = ranking?.scored.find(({ adapter }) => ranking.adapterIds[adapter] === adapterId);
  return Object.fromEntries((found?.features ?? []).map((value, index) => [FEATURE_NAMES[index]!, value]));
}

function stepsOf(decision: RoutingDecision, evidence: DecisionEvidence): ExplainedStep[] {
  if (decision.strategy === "pinned") {
    return [{ step: "pinned", decided: true, reason: `The caller pinned ${nameOf(decision.adapterId)}.` }];
  }
  const steps: ExplainedStep[] = [{ step: "pinned", decided: false, reason: "The caller pinned nothing." }];
  const decidesByDomain = decision.strategy === "domain" || evidence.hint !== undefined;
  steps.push({ step: "domain", decided: decidesByDomain, reason: domainReason(decision, evidence) });
  if (decidesByDomain) return steps;
  const isExplored = evidence.exploration !== null;
  steps.push({ step: "embedding", decided: decision.strategy === "embedding", reason: embeddingReason(decision, evidence) });
  if (isExplored)
    steps.push({ step: "exploration", decided: decision.strategy === "explore", reason: explorationReason(decision, evidence) });
  if (decision.strategy === "default") {
    steps.push({ step: "default", decided: true, reason: `So the default answers: ${nameOf(decision.adapterId)}.` });
  }
  return steps;
}

function domainReason(decision: RoutingDecision, { hint, rules, settings }: DecisionEvidence): string {
  if (hint !== undefined) {
    return decision.strategy === "domain"
      ? `The caller named the domain ${hint}, which ${decision.adapterId} serves.`
      : `The caller named the domain ${hint}, which no adapter serves: ${nameOf(decision.adapterId)} answers.`;
  }
  if (rules.length === 0) return "No keyword of a domain rule was found.";
  const found = rules.map(({ domain, weight, keywords }) => `${domain} weighs ${weight} by ${keywords.map(quoted).join(", ")}`).join("; ");
  const needed = `a rule decides from ${settings.thresholds.hardDomain} on`;
  if (decision.strategy === "domain") return `Domain rules: ${found}; ${needed}, so ${decision.adapterId} answers.`;
  return `Domain rules: ${found}; ${needed} and only for a domain that an adapter serves, so none decided.`;
}

function embeddingReason(
  { candidates, confidence, strategy }: RoutingDecision,
  { embedding, settings, exploration }: DecisionEvidence,
): string {
  const best = candidates[0];
  if (embedding === "off") return "Routing by likeness is switched off.";
  if (embedding === "no text") return "There is no text to compare.";
  if (embedding === "no examples") return "No active adapter has examples to compare with.";
  if (embedding === "failed") return "The embedder failed, so likeness is not known.";
  if (best === undefined) return "No adapter came into question by likeness.";
  const { confLow, confHigh } = settings.thresholds;
  const likeness = `By likeness ${best.adapterId} is right with a probability of ${percent(confidence)}`;
  if (confidence >= confHigh) return `${likeness}, which is at least ${percent(confHigh)} (confHigh): it answers.`;
  if (confidence < confLow) return `${likeness}, which is less than ${percent(confLow)} (confLow): out of scope.`;
  const between = `${likeness}, between ${percent(confLow)} (confLow) and ${percent(confHigh)} (confHigh)`;
  if (exploration !== null) return `${between}: exploration decides.`;
  return strategy === "embedding" ? `${between}: it answers.` : `${between}, where the settings prefer the default.`;
}

function explorationReason({ candidates, strategy }: RoutingDecision, { exploration }: DecisionEvidence): string {
  const { candidate, default: fallback, candidatePropensity } = exploration!;
  const mean = ({ alpha, beta }: ExplorationEvidence["candidate"]): string => (alpha / (alpha + beta)).toFixed(2);
  const beliefs = `Expected rewards (0 to 1) are ${mean(candidate)} for ${candidates[0]!.adapterId} and ${mean(fallback)} for the default`;
  const outcome = strategy === "explore" ? "and it was" : "and it was not";
  return `${beliefs}; the candidate was to be tried with a probability of ${percent(candidatePropensity)}, ${outcome}.`;
}

const nameOf = (adapterId: string | null): string => adapterId ?? "the base model";
const quoted = (text: string): string => `"${text}"`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
