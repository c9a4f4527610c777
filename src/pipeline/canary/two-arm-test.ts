/** Cells into which the boundary of the hypothesis is cut; a difference below 1 / CELLS cannot be shown. */
const CELLS = 200;
/** Part of the largest safe bet that is staked at most. */
const CAUTION = 0.5;

/** JSON knows no infinity. */
const MAX_LOG_EVIDENCE = 700;

/** What is known of one arm before its next outcome. */
interface Arm {
  count: number;
  sum: number;
  sumOfSquares: number;
}

/**
 * Shows by outcomes in 0..1, whenever one looks, that arm B's mean is above arm A's by more than `margin`. Under the hypothesis that it
 * is not, the probability that `evidence` ever reaches 1/α is at most α.
 *
 * Method: testing by betting (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024). For
 * each cell [θ, θ'] of A's mean a player bets that A's outcomes are below θ and B's are above θ' + margin, with the stakes of their
 * "aGRAPA" (section B.3), predictable and at most half of what may be lost. If the hypothesis holds, A's mean lies in one cell, and the
 * wealth of that cell's player is a nonnegative supermartingale; the poorest player's wealth is never more (Ville's inequality).
 */
export class TwoArmTest {
  readonly #margin: number;
  readonly #logWealth = new Float64Array(CELLS);
  readonly #a: Arm = { count: 0, sum: 0, sumOfSquares: 0 };
  readonly #b: Arm = { count: 0, sum: 0, sumOfSquares: 0 };
  #logEvidence = 0;

  constructor(margin: number) {
    this.#margin = margin;
  }

  /** The largest wealth of the poorest player so far; 1: nothing is shown. */
  get evidence(): number {
    return Math.exp(Math.min(this.#logEvidence, MAX_LOG_EVIDENCE));
  }

  observeA(outcome: number): void {
    // a bet that A is low is a bet that 1 − A is high
    const best = estimateOf(mirrored(this.#a));
    for (let cell = 0; cell < CELLS; cell++) this.#logWealth[cell]! += logGain(1 - outcome, 1 - cell / CELLS, best);
    note(this.#a, outcome);
    this.#lookAtPoorest();
  }

  observeB(outcome: number): void {
    const best = estimateOf(this.#b);
    for (let cell = 0; cell < CELLS; cell++) this.#logWealth[cell]! += logGain(outcome, (cell + 1) / CELLS + this.#margin, best);
    note(this.#b, outcome);
    this.#lookAtPoorest();
  }

  #lookAtPoorest(): void {
    let poorest = Number.POSITIVE_INFINITY;
    for (const wealth of this.#logWealth) if (wealth < poorest) poorest = wealth;
    if (poorest > this.#logEvidence) this.#logEvidence = poorest;
  }
}

/** Gain of a bet that outcomes are above `threshold`, with the stake that the estimate of mean and variance suggests. */
function logGain(outcome: number, threshold: number, { mean, variance }: { mean: number; variance: number }): number {
  const edge = mean - threshold;
  if (edge <= 0 || threshold >= 1) return 0;
  const stake = Math.min(edge / (variance + edge * edge), CAUTION / Math.max(threshold, 1e-9));
  return Math.log1p(stake * (outcome - threshold));
}

/** Mean and variance with one imagined outcome of ½, so that the first bets are small. */
function estimateOf({ count, sum, sumOfSquares }: Arm): { mean: number; variance: number } {
  const mean = (0.5 + sum) / (count + 1);
  const variance = (0.25 + Math.max(0, sumOfSquares - 2 * mean * sum + count * mean * mean)) / (count + 1);
  return { mean, variance };
}

function mirrored({ count, sum, sumOfSquares }: Arm): Arm {
  return { count, sum: count - sum, sumOfSquares: count - 2 * sum + sumOfSquares };
}

function note(arm: Arm, outcome: number): void {
  arm.count++;
  arm.sum += outcome;
  arm.sumOfSquares += outcome * outcome;
}
