import { seededRandom } from "../../support/seeded-random.js";
import type { PairedDifference } from "../../types/cycle.js";

/** Shuffles a copy (Fisher–Yates). */
export function shuffled<T>(values: readonly T[], random: () => number): T[] {
  const copy = [...values];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [copy[last], copy[other]] = [copy[other] as T, copy[last] as T];
  }
  return copy;
}

/** The arithmetic mean; 0 for none. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index] as number;
  return values.length === 0 ? 0 : sum / values.length;
}

/** How a `PairedDifference` is computed. */
export interface BootstrapOptions {
  /** Default 4,000. */
  resamples?: number;
  /** Two-sided, default .95. */
  confidence?: number;
  /** Default 1. */
  seed?: number;
}

/**
 * The mean of candidate − baseline over items that both answered, with its percentile bootstrap interval
 * (Efron & Tibshirani 1993, ch. 13; on the same items, Koehn 2004): items are drawn with replacement, so the pairing stays.
 */
export function pairedBootstrap(
  baseline: readonly number[],
  candidate: readonly number[],
  options: BootstrapOptions = {},
): PairedDifference {
  const { resamples = 4000, confidence = 0.95, seed = 1 } = options;
  const count = Math.min(baseline.length, candidate.length);
  const differences = Array.from({ length: count }, (_, index) => (candidate[index] as number) - (baseline[index] as number));
  const difference = mean(differences);
  const summary = { count, baseline: mean(baseline.slice(0, count)), candidate: mean(candidate.slice(0, count)), difference };
  if (count < 2) return { ...summary, low: count === 0 ? 0 : -1, high: count === 0 ? 0 : 1 };
  const random = seededRandom(seed);
  const means = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    let sum = 0;
    for (let draw = 0; draw < count; draw++) sum += differences[Math.floor(random() * count)] as number;
    means[resample] = sum / count;
  }
  means.sort();
  const tail = (1 - confidence) / 2;
  return { ...summary, low: quantile(means, tail), high: quantile(means, 1 - tail) };
}

function quantile(sorted: Float64Array, share: number): number {
  const index = Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))));
  return sorted[index] as number;
}

/**
 * Exact two-sided sign test (McNemar's exact test where the values are 0 and 1): the probability that chance alone splits the
 * items that differ at least as unevenly. The bootstrap is too sure where only a handful of items differ; this is not.
 */
export function exactSignTest(baseline: readonly number[], candidate: readonly number[]): number {
  let better = 0;
  let worse = 0;
  for (let index = 0; index < Math.min(baseline.length, candidate.length); index++) {
    const difference = (candidate[index] as number) - (baseline[index] as number);
    if (difference > 0) better++;
    else if (difference < 0) worse++;
  }
  const differing = better + worse;
  if (differing === 0) return 1;
  return Math.min(1, 2 * binomialTail(Math.max(better, worse), differing, 0.5));
}

/** The probability of at least `successes` in `trials`, each with the probability `share` (0..1, exclusive). */
export function binomialTail(successes: number, trials: number, share: number): number {
  let tail = 0;
  for (let count = successes; count <= trials; count++) {
    tail += Math.exp(logChoose(trials, count) + count * Math.log(share) + (trials - count) * Math.log1p(-share));
  }
  return Math.min(1, tail);
}

/** Terms of the continued fraction; from 1 on it is good to seven digits. */
const FRACTION_TERMS = 200;

/** ln of the probability that a standard normal variable is above `z`, for z of 1 and more (Laplace's continued fraction); below, that of 1. */
export function logNormalTail(z: number): number {
  const from = Math.max(1, z);
  let fraction = from;
  for (let term = FRACTION_TERMS; term >= 1; term--) fraction = from + term / fraction;
  return -(from ** 2) / 2 - Math.log(Math.sqrt(2 * Math.PI) * fraction);
}

function logChoose(total: number, chosen: number): number {
  let sum = 0;
  for (let step = 1; step <= chosen; step++) sum += Math.log(total - chosen + step) - Math.log(step);
  return sum;
}
