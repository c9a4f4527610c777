import { AbortedError } from "../errors.js";
import type { CallOptions } from "../types/common.js";
import type { RouterSettings, RoutingDecision } from "../types/routing.js";
import { Exploration } from "./exploration.js";

/** A decision and how it turned out. */
export interface LoggedOutcome {
  decision: RoutingDecision;
  /** -1..1. */
  reward: number;
}

/** The part of the settings that can be judged by what was logged. */
export type RoutingPolicy = Pick<RouterSettings, "enableExploration" | "uncertain"> & {
  thresholds: Pick<RouterSettings["thresholds"], "confLow" | "confHigh">;
};

/** A mean reward, -1..1, and its 95 % interval. */
export interface RewardEstimate {
  mean: number;
  low: number;
  high: number;
}

/** What is known of a changed policy before it is made. */
export interface PolicyJudgement {
  /** Decisions that were looked at. */
  decisions: number;
  /** Mean reward that the changed policy would have had; null where nothing that it would do was ever tried. */
  estimate: RewardEstimate | null;
  /** Mean reward that was had; null without decisions. */
  logged: RewardEstimate | null;
  /** Decisions' worth of evidence behind the estimate (Kish 1965): the smaller, the less the interval may be trusted. */
  effectiveSampleSize: number;
  /**
   * What the changed policy would do but the logged one never did, so that no reward tells how it would turn out: the share of
   * decisions, 0..1, for each kind. The estimate holds for the rest only.
   */
  unsupported: { action: "candidate" | "default"; share: number }[];
  /** False where a share of the decisions is unsupported or nothing was logged: then the estimate is no judgement of the change. */
  isConclusive: boolean;
}

/** 97.5 % quantile of the normal distribution. */
const NORMAL_QUANTILE = 1.96;
/** From -1 to 1: one decision says nothing of the next. */
const WHOLE_RANGE = 2;
/** Rounding, not a choice that the policy makes. */
const NEGLIGIBLE = 1e-9;

/**
 * Estimates the mean reward of another policy from logged decisions with their propensities, by self-normalised inverse propensity
 * scoring (Swaminathan and Joachims 2015) with the jackknife's interval (Efron and Tibshirani 1993), which holds the truth a little
 * less often than it says below some hundred decisions. Decisions by pin, hint and rule are the same under every such policy. Where
 * the changed policy explores and the logged one did not, it is taken to start without outcomes.
 * @example
 * ```ts
 * const outcomes = [{ decision: await clara.router.route(text), reward: 1 }];
 * const { estimate, logged, isConclusive } = await judgePolicy(outcomes, {
 *   enableExploration: false,
 *   uncertain: "candidate",
 *   thresholds: { confLow: 0.7, confHigh: 0.85 },
 * });
 * ```
 */
export async function judgePolicy(
  logged: Iterable<LoggedOutcome> | AsyncIterable<LoggedOutcome>,
  policy: RoutingPolicy,
  { signal }: CallOptions = {},
): Promise<PolicyJudgement> {
  const beginner = new Exploration();
  const weights: number[] = [];
  const rewards: number[] = [];
  const unsupported = { candidate: 0, default: 0 };
  for await (const { decision, reward } of logged) {
    if (signal?.aborted) throw new AbortedError("Judging a policy was aborted.", { cause: signal.reason });
    rewards.push(reward);
    const taken = takenBy(decision);
    if (taken === null) {
      weights.push(1);
      continue;
    }
    const candidateChance = chanceOfCandidate(decision, policy, beginner);
    const chance = taken === "candidate" ? candidateChance : 1 - candidateChance;
    weights.push(chance / decision.propensity);
    if (decision.propensity === 1) unsupported[taken === "candidate" ? "default" : "candidate"] += 1 - chance;
  }
  const kinds = (["candidate", "default"] as const)
    .map((action) => ({ action, share: unsupported[action] / Math.max(1, rewards.length) }))
    .filter(({ share }) => share > NEGLIGIBLE);
  const estimate = selfNormalised(rewards, weights);
  return {
    decisions: rewards.length,
    estimate,
    logged: selfNormalised(
      rewards,
      rewards.map(() => 1),
    ),
    effectiveSampleSize: effectiveSize(weights),
    unsupported: kinds,
    isConclusive: estimate !== null && kinds.length === 0,
  };
}

/** Which of the two was chosen; null where such a policy had no choice. */
function takenBy({ strategy, candidates, adapterId }: RoutingDecision): "candidate" | "default" | null {
  const best = candidates[0];
  if (strategy === "pinned" || strategy === "domain" || best === undefined) return null;
  if (strategy === "default") return best.adapterId === adapterId ? null : "default";
  return "candidate";
}

function chanceOfCandidate(
  decision: RoutingDecision,
  { thresholds, enableExploration, uncertain }: RoutingPolicy,
  beginner: Exploration,
): number {
  const { confidence, propensity, candidates, strategy, adapterId } = decision;
  if (confidence >= thresholds.confHigh) return 1;
  if (confidence < thresholds.confLow) return 0;
  if (!enableExploration) return uncertain === "candidate" ? 1 : 0;
  // It was explored then, with what was known then.
  if (propensity < 1) return strategy === "explore" ? propensity : 1 - propensity;
  const fallback = strategy === "default" ? adapterId : null;
  return beginner.weigh(candidates[0]!.adapterId, fallback, confidence).candidatePropensity;
}

function selfNormalised(rewards: readonly number[], weights: readonly number[]): RewardEstimate | null {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return null;
  const mean = rewards.reduce((sum, reward, index) => sum + weights[index]! * reward, 0) / total;
  // What the mean would move by without each decision: few decisions of great weight widen the interval as they should.
  const moves = rewards.map((reward, index) => (weights[index]! * (reward - mean)) / (total - weights[index]!));
  const isSingle = effectiveSize(weights) < 2;
  const reach = isSingle ? WHOLE_RANGE : NORMAL_QUANTILE * Math.sqrt(moves.reduce((sum, move) => sum + move * move, 0));
  return { mean, low: Math.max(-1, mean - reach), high: Math.min(1, mean + reach) };
}

function effectiveSize(weights: readonly number[]): number {
  const squares = weights.reduce((sum, weight) => sum + weight * weight, 0);
  return squares === 0 ? 0 : weights.reduce((sum, weight) => sum + weight, 0) ** 2 / squares;
}
