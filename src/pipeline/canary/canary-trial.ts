import type { CanaryArm, CanaryEvidence } from "../../types/canary.js";
import type { CanaryOptions } from "./canary-options.js";
import type { CanaryOutcome } from "./canary-outcomes.js";
import { TwoArmTest } from "./two-arm-test.js";

/** Each may roll a canary back, and together they err with probability α at most. */
const GUARDS = 3;

/** What a trial has come to. */
export interface TrialVerdict {
  status: "promoted" | "rolled_back";
  reason: string;
}

interface Counts {
  ratings: number;
  rewards: number;
  calls: number;
  failedCalls: number;
  slowCalls: number;
}

/**
 * Compares the two arms of a canary outcome by outcome. It may be asked for its verdict after each: the tests hold at whatever moment
 * they are looked at.
 */
export class CanaryTrial {
  readonly #options: CanaryOptions;
  readonly #slowAboveMs: number | null;
  readonly #better: TwoArmTest;
  readonly #worse = new TwoArmTest(0);
  readonly #failing: TwoArmTest;
  readonly #slower: TwoArmTest;
  readonly #counts: Record<CanaryArm, Counts> = { canary: nothing(), incumbent: nothing() };

  constructor(options: CanaryOptions, slowAboveMs: number | null) {
    this.#options = options;
    this.#slowAboveMs = slowAboveMs;
    this.#better = new TwoArmTest(options.minGain);
    this.#failing = new TwoArmTest(options.failureMargin);
    this.#slower = new TwoArmTest(options.slowMargin);
  }

  observe({ arm, kind, value }: Pick<CanaryOutcome, "arm" | "kind" | "value">): void {
    if (kind === "rating") this.#observeRating(arm, value ?? 0);
    else this.#observeCall(arm, value);
  }

  /** Null: not decided yet. */
  verdict(): TrialVerdict | null {
    const { alpha } = this.#options;
    const limit = GUARDS / alpha;
    const { canary, incumbent } = this.#counts;
    if (this.#failing.evidence >= limit) return rolledBack(`it fails more often: ${shares("failedCalls", canary, incumbent)}`);
    if (this.#slower.evidence >= limit) return rolledBack(`it is slower: ${shares("slowCalls", canary, incumbent)} slow`);
    if (this.#worse.evidence >= limit) return rolledBack(`its answers are rated worse: ${ratings(canary, incumbent)}`);
    if (this.#better.evidence < 1 / alpha) return null;
    return { status: "promoted", reason: `its answers are rated better: ${ratings(canary, incumbent)}` };
  }

  /** Why nothing was decided. */
  undecided(): string {
    return `no difference was shown within the time limit: ${ratings(this.#counts.canary, this.#counts.incumbent)}`;
  }

  evidence(): CanaryEvidence {
    return {
      canary: armEvidence(this.#counts.canary),
      incumbent: armEvidence(this.#counts.incumbent),
      better: this.#better.evidence,
      worse: this.#worse.evidence,
      failing: this.#failing.evidence,
      slower: this.#slower.evidence,
    };
  }

  #observeRating(arm: CanaryArm, reward: number): void {
    const counts = this.#counts[arm];
    counts.ratings++;
    counts.rewards += reward;
    if (arm === "canary") {
      this.#better.observeB(reward);
      this.#worse.observeA(reward);
    } else {
      this.#better.observeA(reward);
      this.#worse.observeB(reward);
    }
  }

  #observeCall(arm: CanaryArm, latencyMs: number | null): void {
    const counts = this.#counts[arm];
    counts.calls++;
    if (latencyMs === null) counts.failedCalls++;
    observe(this.#failing, arm, latencyMs === null ? 1 : 0);
    // a failed call is judged as failed; how fast it was says nothing
    if (latencyMs === null || this.#slowAboveMs === null) return;
    const isSlow = latencyMs > this.#slowAboveMs;
    if (isSlow) counts.slowCalls++;
    observe(this.#slower, arm, isSlow ? 1 : 0);
  }
}

function observe(test: TwoArmTest, arm: CanaryArm, outcome: number): void {
  if (arm === "canary") test.observeB(outcome);
  else test.observeA(outcome);
}

function nothing(): Counts {
  return { ratings: 0, rewards: 0, calls: 0, failedCalls: 0, slowCalls: 0 };
}

function armEvidence({ rewards, ...counts }: Counts): CanaryEvidence["canary"] {
  return { ...counts, meanReward: counts.ratings === 0 ? null : rewards / counts.ratings };
}

function rolledBack(reason: string): TrialVerdict {
  return { status: "rolled_back", reason };
}

function ratings(canary: Counts, incumbent: Counts): string {
  const mean = ({ ratings, rewards }: Counts) => `${ratings === 0 ? "-" : (rewards / ratings).toFixed(2)} of 1 in ${ratings} ratings`;
  return `${mean(canary)}, the incumbent's ${mean(incumbent)}`;
}

function shares(count: "failedCalls" | "slowCalls", canary: Counts, incumbent: Counts): string {
  return `${canary[count]} of ${canary.calls} calls, the incumbent's ${incumbent[count]} of ${incumbent.calls}`;
}
