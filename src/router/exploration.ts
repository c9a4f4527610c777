import type { CallOptions, Logger } from "../types/common.js";
import { type Beta, probabilityGreater } from "./thompson.js";

/** Outcomes of one arm of the exploration: an adapter, or null for the base model. */
export interface ArmOutcomes {
  adapterId: string | null;
  /** Number of outcomes. */
  count: number;
  /** Sum of their rewards, each taken from -1..1 to 0..1 by (reward + 1) / 2. */
  rewardSum: number;
}

/** Where outcomes outlive the process; read at each refresh of the router. */
export interface OutcomeSource {
  /**
   * Outcomes by arm, of decisions whose `propensity` is below 1 only, those of this process among them: they replace what the
   * router counted itself.
   */
  load(options: CallOptions): Promise<readonly ArmOutcomes[]>;
}

/** Why exploration did what it did. */
export interface ExplorationEvidence {
  /** What was believed of the candidate's reward, 0..1, for this question. */
  candidate: Beta;
  /** What was believed of the default's. */
  default: Beta;
  /** Probability with which the candidate was to be tried. */
  candidatePropensity: number;
}

/** No action in the exploration's band is ever impossible, or its outcome could not be judged. */
export const MIN_PROPENSITY = 0.05;

/** Outcomes' worth of the calibrated confidence: a handful of real ones outweighs it. */
const PRIOR_OUTCOMES = 4;

/**
 * What the outcomes say of candidates and default where the router is unsure. Only outcomes of decisions that were left to chance
 * count: how an adapter does on questions that are clearly its own says little of those that may not be.
 */
export class Exploration {
  #arms = new Map<string | null, { count: number; rewardSum: number }>();
  readonly #source: OutcomeSource | undefined;
  readonly #logger: Logger | undefined;
  readonly #closed = new AbortController();
  #loading: Promise<void> | null = null;

  constructor(source?: OutcomeSource, logger?: Logger) {
    this.#source = source;
    this.#logger = logger;
  }

  /** Reads the source, one reading at a time; where that fails, what is known stays and the log tells. */
  refresh(): Promise<void> {
    if (this.#source === undefined || this.#closed.signal.aborted) return Promise.resolve();
    this.#loading ??= this.#load(this.#source).finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#loading;
  }

  /** Counts an outcome; with `sign` -1 takes it back. */
  learn(adapterId: string | null, reward: number, sign: 1 | -1 = 1): void {
    const arm = this.#arms.get(adapterId) ?? { count: 0, rewardSum: 0 };
    this.#arms.set(adapterId, { count: arm.count + sign, rewardSum: arm.rewardSum + (sign * (reward + 1)) / 2 });
  }

  async #load(source: OutcomeSource): Promise<void> {
    try {
      const arms = await source.load({ signal: this.#closed.signal });
      for (const arm of arms) {
        if (!(arm.rewardSum >= 0 && arm.rewardSum <= arm.count)) {
          throw new RangeError(
            `outcomes of ${arm.adapterId ?? "the base model"}: rewardSum ${arm.rewardSum} is not within 0 and count ${arm.count}`,
          );
        }
      }
      this.#arms = new Map(arms.map(({ adapterId, count, rewardSum }) => [adapterId, { count, rewardSum }]));
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      this.#logger?.warn({ error }, "the outcomes could not be read; exploration goes on with what is known");
    }
  }

  /** How likely the candidate is to be tried for a question of this confidence. */
  weigh(candidateId: string, defaultId: string | null, confidence: number): ExplorationEvidence {
    const candidate = this.#belief(candidateId, confidence);
    // At most one of the two is right, so what the candidate lacks in confidence the default has.
    const fallback = this.#belief(defaultId, 1 - confidence);
    const preference = probabilityGreater(candidate, fallback);
    return { candidate, default: fallback, candidatePropensity: Math.min(1 - MIN_PROPENSITY, Math.max(MIN_PROPENSITY, preference)) };
  }

  #belief(adapterId: string | null, confidence: number): Beta {
    const { count, rewardSum } = this.#arms.get(adapterId) ?? { count: 0, rewardSum: 0 };
    const alpha = 1 + PRIOR_OUTCOMES * confidence + rewardSum;
    return { alpha, beta: 2 + PRIOR_OUTCOMES + count - alpha };
  }
}
