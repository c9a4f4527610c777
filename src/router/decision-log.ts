import { NotFoundError } from "../errors.js";
import type { RoutingDecision, RoutingStrategy } from "../types/routing.js";
import type { DecisionEvidence } from "./explain-decision.js";

/** A decision and what judging it later needs. */
export interface RecordedDecision {
  decision: RoutingDecision;
  /** Probability with which the policy chose what it chose; 1 where nothing was left to chance. */
  propensity: number;
  decidedAt: Date;
  reward: number | null;
}

/** Rewards of one adapter's answers. */
export interface OutcomeCounts {
  count: number;
  /** Mean reward, -1..1. */
  meanReward: number;
  positive: number;
  negative: number;
}

/** Outcomes of the base model are counted under this name. */
export const BASE_OUTCOMES = "base";

/** The last decisions and their outcomes; bounded, oldest first out. */
export class DecisionLog {
  readonly #decisions = new Map<string, { record: RecordedDecision; evidence: DecisionEvidence }>();
  readonly #outcomes = new Map<string, { count: number; sum: number; positive: number; negative: number }>();
  readonly #strategies = new Map<RoutingStrategy, number>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(decision: RoutingDecision, evidence: DecisionEvidence): void {
    this.#strategies.set(decision.strategy, (this.#strategies.get(decision.strategy) ?? 0) + 1);
    const record = { decision, propensity: decision.propensity, decidedAt: new Date(), reward: null };
    this.#decisions.set(decision.id, { record, evidence });
    if (this.#decisions.size > this.#capacity) this.#decisions.delete(this.#decisions.keys().next().value!);
  }

  get(id: string): RecordedDecision {
    return this.#get(id).record;
  }

  evidence(id: string): DecisionEvidence {
    return this.#get(id).evidence;
  }

  /** Remembered decisions that have a reward, oldest first. */
  *rewarded(): Generator<RecordedDecision & { reward: number }> {
    for (const { record } of this.#decisions.values()) if (record.reward !== null) yield { ...record, reward: record.reward };
  }

  #get(id: string): { record: RecordedDecision; evidence: DecisionEvidence } {
    const entry = this.#decisions.get(id);
    if (entry !== undefined) return entry;
    throw new NotFoundError(
      "decision_not_found",
      `No routing decision ${id} is known to this process; it remembers the last ${this.#capacity}.`,
      { details: { id } },
    );
  }

  /** A second reward for the same decision replaces the first, which is answered. */
  reward(id: string, reward: number): number | null {
    const record = this.get(id);
    const before = record.reward;
    const key = record.decision.adapterId ?? BASE_OUTCOMES;
    const counts = this.#outcomes.get(key) ?? { count: 0, sum: 0, positive: 0, negative: 0 };
    if (before !== null) count(counts, before, -1);
    count(counts, reward, 1);
    this.#outcomes.set(key, counts);
    record.reward = reward;
    return before;
  }

  countsByStrategy(): Record<RoutingStrategy, number> {
    const counts = { pinned: 0, domain: 0, embedding: 0, explore: 0, default: 0 };
    return { ...counts, ...Object.fromEntries(this.#strategies) };
  }

  outcomes(): Record<string, OutcomeCounts> {
    const entries = [...this.#outcomes].map(([key, { sum, ...counts }]) => [key, { ...counts, meanReward: sum / counts.count }] as const);
    return Object.fromEntries(entries);
  }
}

function count(counts: { count: number; sum: number; positive: number; negative: number }, reward: number, sign: 1 | -1): void {
  counts.count += sign;
  counts.sum += sign * reward;
  if (reward > 0) counts.positive += sign;
  if (reward < 0) counts.negative += sign;
}
