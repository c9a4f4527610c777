/**
 * The arithmetic of Thompson sampling (Thompson 1933; Russo et al. 2018, "A Tutorial on Thompson Sampling") for two arms whose mean
 * rewards, 0..1, are believed to be Beta distributed. Instead of drawing from both beliefs, the probability that such a draw would
 * prefer the first is computed, so that an action can be drawn with a propensity that is known exactly.
 */
export interface Beta {
  /** Pseudo-count of rewards, from 1. */
  alpha: number;
  /** Pseudo-count of missing rewards, from 1. */
  beta: number;
}

/** Half the width of the integration, in standard deviations, and its steps. */
const REACH = 10;
const STEPS = 80;

/**
 * Probability that a draw from `left` is greater than one from `right`: the integral of left's density times right's distribution
 * function, by the trapezium rule over log-odds, where both are smooth and vanish at the ends.
 */
export function probabilityGreater(left: Beta, right: Beta): number {
  // The narrower density is the one to integrate over: the other's distribution function is smooth on its scale.
  if (left.alpha + left.beta < right.alpha + right.beta) return 1 - probabilityGreater(right, left);
  const { alpha, beta } = left;
  const centre = Math.log(alpha / beta);
  const width = REACH * Math.sqrt(1 / alpha + 1 / beta);
  const distribution = betaDistribution(right);
  const peak = logDensity(left, centre);
  let weights = 0;
  let sum = 0;
  for (let step = 0; step <= STEPS; step++) {
    const logOdds = centre + width * ((2 * step) / STEPS - 1);
    const weight = Math.exp(logDensity(left, logOdds) - peak);
    weights += weight;
    // Where the density has vanished the product has too.
    if (weight > 1e-12) sum += weight * distribution(1 / (1 + Math.exp(-logOdds)));
  }
  return Math.min(1, Math.max(0, sum / weights));
}

/** Unnormalised, in log-odds. */
function logDensity({ alpha, beta }: Beta, logOdds: number): number {
  return -alpha * Math.log1p(Math.exp(-logOdds)) - beta * Math.log1p(Math.exp(logOdds));
}

/** Regularised incomplete beta function by its continued fraction (DLMF 8.17.22), in modified Lentz form. */
function betaDistribution({ alpha, beta }: Beta): (x: number) => number {
  const logBeta = logGamma(alpha) + logGamma(beta) - logGamma(alpha + beta);
  return (x) => {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    const front = Math.exp(alpha * Math.log(x) + beta * Math.log1p(-x) - logBeta);
    // On the other side of the mean the fraction of the complement converges fast.
    return x < (alpha + 1) / (alpha + beta + 2)
      ? (front * continuedFraction(alpha, beta, x)) / alpha
      : 1 - (front * continuedFraction(beta, alpha, 1 - x)) / beta;
  };
}

const TINY = 1e-300;
const MAX_TERMS = 500;
const PRECISION = 1e-12;

function continuedFraction(a: number, b: number, x: number): number {
  let numerator = 1;
  let denominator = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let value = denominator;
  for (let term = 1; term <= MAX_TERMS; term++) {
    const even = (term * (b - term) * x) / ((a + 2 * term - 1) * (a + 2 * term));
    denominator = 1 / nonZero(1 + even * denominator);
    numerator = nonZero(1 + even / numerator);
    value *= denominator * numerator;
    const odd = (-(a + term) * (a + b + term) * x) / ((a + 2 * term) * (a + 2 * term + 1));
    denominator = 1 / nonZero(1 + odd * denominator);
    numerator = nonZero(1 + odd / numerator);
    const factor = denominator * numerator;
    value *= factor;
    if (Math.abs(factor - 1) < PRECISION) break;
  }
  return value;
}

function nonZero(value: number): number {
  return Math.abs(value) < TINY ? TINY : value;
}

/** Stirling's series (DLMF 5.11.1), after a shift to where four terms suffice. */
function logGamma(value: number): number {
  let shifted = value;
  let product = 1;
  while (shifted < 8) product *= shifted++;
  const square = 1 / (shifted * shifted);
  const series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / shifted;
  return (shifted - 0.5) * Math.log(shifted) - shifted + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product);
}
