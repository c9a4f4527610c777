import type { LearningCycle } from "../types/cycle.js";
import { allowBatch, type BatchAllowance, type WaitingBySubject } from "./batch-rules.js";
import type { TriggerOptions } from "./pipeline-options.js";

const NEARLY_FULL = 0.9;

/** What decides whether a domain's cycle starts; also given to a custom trigger. */
export interface DomainState extends BatchAllowance {
  domain: string;
  /** Milliseconds since 1970 when the oldest waiting imitable sample was received. */
  oldestWaitingAt: number;
  /** True while a cycle of the domain has not ended. */
  hasOpenCycle: boolean;
  /** True while a version of the domain is on trial; no cycle starts by itself then, unless the buffer is nearly full. */
  hasCanary: boolean;
  /** True where no more than a tenth of the domain's places is free. */
  isNearlyFull: boolean;
  /** When the domain's last cycle ended, milliseconds since 1970. */
  lastCycleEndedAt: number | null;
  lastCycleStatus: LearningCycle["status"] | null;
  /** Failed cycles in a row up to the last. */
  consecutiveFailures: number;
  /** Waiting samples received since the last cycle ended. */
  newSinceLastCycle: number;
  /** Seconds that the pipeline's jobs, of any domain, took within the last 24 hours. */
  trainingSecondsToday: number;
}

/** What the database says of a domain, before the rules are applied. */
export type DomainFacts = Omit<DomainState, keyof BatchAllowance | "isNearlyFull"> & { bySubject: WaitingBySubject };

/** Applies the rules about people to a domain. */
export function domainState(facts: DomainFacts, rules: TriggerOptions, capacity: number): DomainState {
  const { bySubject, ...rest } = facts;
  const allowance = allowBatch(bySubject, rules, capacity);
  return { ...rest, ...allowance, isNearlyFull: allowance.waiting >= NEARLY_FULL * capacity };
}

/** Why no cycle can start, even by hand; null where one can. */
export function startObstacle(state: BatchAllowance, rules: TriggerOptions): string | null {
  if (state.eligible < rules.minSamples && state.waiting < rules.minSamples) {
    return `${state.waiting} samples wait, ${rules.minSamples} are needed`;
  }
  if (!state.isTrusted) {
    const way = "set triggers.minDistinctSubjects, or give no subjectId at all where you have no users yet";
    return `${state.waiting} samples wait, but from ${state.distinctSubjects} distinct people; ${rules.minDistinctSubjects} are needed before a batch is trusted (${way})`;
  }
  if (state.eligible < rules.minSamples) {
    return `${state.waiting} samples wait, but only ${state.eligible} fit in a batch in which one person gives at most ${state.perSubject} of them; ${rules.minSamples} are needed (set triggers.maxSubjectShare, or wait for more people)`;
  }
  return null;
}

/** Why no cycle starts by itself, though one might by hand; null where one can. */
export function automaticObstacle(state: DomainState, rules: TriggerOptions): string | null {
  const obstacle = startObstacle(state, rules);
  if (obstacle !== null || state.trainingSecondsToday < rules.dailyTrainingSeconds) return obstacle;
  return `${Math.round(state.trainingSecondsToday)} seconds of training within 24 hours are over the limit of ${rules.dailyTrainingSeconds} (set triggers.dailyTrainingSeconds, or start one by hand)`;
}

/** Which automatic trigger starts a cycle of the domain now; null = none. Seconds are counted in total, and time alone starts nothing. */
export function dueTrigger(state: DomainState, rules: TriggerOptions, now: number): "size" | "time" | null {
  if (!mayStartAutomatically(state, rules, now)) return null;
  if (state.eligible >= rules.size) return "size";
  const since = state.lastCycleEndedAt ?? state.oldestWaitingAt;
  return now - since >= rules.timeSeconds * 1000 ? "time" : null;
}

/** Enough data, no open cycle, no canary whose trial its successor would cut short, the cool-down over, the day's training time not used up, and after a cycle that lacked evidence enough that is new. */
export function mayStartAutomatically(state: DomainState, rules: TriggerOptions, now: number): boolean {
  if (state.hasOpenCycle || automaticObstacle(state, rules) !== null) return false;
  if (state.hasCanary && !state.isNearlyFull) return false;
  if (state.lastCycleStatus === "inconclusive" && state.newSinceLastCycle < rules.minSamples) return false;
  const cooldownMs = rules.cooldownMs * 2 ** Math.min(state.consecutiveFailures, 10);
  return state.lastCycleEndedAt === null || now - state.lastCycleEndedAt >= cooldownMs;
}
