/**
 * A conditional logit (McFadden 1974) with the base model as the outside option of utility zero: the probability that adapter a
 * is right for a query is exp(w·f(a)) / (1 + Σ exp(w·f(b))). One model ranks the adapters, knows when none fits, and gives a
 * probability instead of a similarity.
 */
export interface LabelledChoice {
  /** Features of each candidate. */
  features: readonly (readonly number[])[];
  /** The right candidate, or -1: none. */
  label: number;
  /** How much it counts. */
  weight: number;
}

/** Probability of each candidate; one minus their sum is the base model's. */
export function choiceProbabilities(features: readonly (readonly number[])[], weights: readonly number[]): number[] {
  const utilities = features.map((values) => utilityOf(values, weights));
  const largest = Math.max(0, ...utilities);
  const exponentials = utilities.map((utility) => Math.exp(utility - largest));
  const total = exponentials.reduce((sum, value) => sum + value, Math.exp(-largest));
  return exponentials.map((value) => value / total);
}

/** Utility of one candidate. */
export function utilityOf(values: readonly number[], weights: readonly number[]): number {
  let utility = 0;
  for (let index = 0; index < weights.length; index++) utility += values[index]! * weights[index]!;
  return utility;
}

/** Prior of the weights: independent normals around `mean`. */
export interface WeightPrior {
  mean: readonly number[];
  /** 1 / variance of each. */
  precision: readonly number[];
}

const MAX_STEPS = 50;
const TOLERANCE = 1e-6;

/** The most probable weights, by Newton's method with step halving (the posterior is concave); yields after each step. */
export async function fitChoice(choices: readonly LabelledChoice[], prior: WeightPrior): Promise<number[]> {
  let weights = [...prior.mean];
  let best = logPosterior(choices, weights, prior);
  for (let step = 0; step < MAX_STEPS; step++) {
    await new Promise((resolve) => setImmediate(resolve));
    const direction = newtonDirection(choices, weights, prior);
    const before = best;
    for (let length = 1; length > 1e-4 && best === before; length /= 2) {
      const proposal = weights.map((weight, index) => weight + length * direction[index]!);
      const value = logPosterior(choices, proposal, prior);
      if (value > best) [weights, best] = [proposal, value];
    }
    if (best - before < TOLERANCE) break;
  }
  return weights;
}

function logPosterior(choices: readonly LabelledChoice[], weights: readonly number[], prior: WeightPrior): number {
  let sum = 0;
  for (const [index, weight] of weights.entries()) sum -= 0.5 * prior.precision[index]! * (weight - prior.mean[index]!) ** 2;
  for (const { features, label, weight } of choices) {
    const probabilities = choiceProbabilities(features, weights);
    const right = label >= 0 ? probabilities[label]! : 1 - probabilities.reduce((total, value) => total + value, 0);
    sum += weight * Math.log(Math.max(right, 1e-12));
  }
  return sum;
}

/** Inverse of the negative second derivatives, times the gradient. */
function newtonDirection(choices: readonly LabelledChoice[], weights: readonly number[], prior: WeightPrior): number[] {
  const size = weights.length;
  const gradient = weights.map((weight, index) => -prior.precision[index]! * (weight - prior.mean[index]!));
  const curvature = weights.map((_, row) => weights.map((__, column) => (row === column ? prior.precision[row]! : 0)));
  const mean = new Float64Array(size);
  for (const { features, label, weight } of choices) {
    const probabilities = choiceProbabilities(features, weights);
    mean.fill(0);
    for (const [candidate, values] of features.entries()) {
      const probability = probabilities[candidate]!;
      for (let row = 0; row < size; row++) {
        mean[row]! += probability * values[row]!;
        for (let column = 0; column <= row; column++) curvature[row]![column]! += weight * probability * values[row]! * values[column]!;
      }
    }
    for (let row = 0; row < size; row++) {
      gradient[row]! += weight * ((label >= 0 ? features[label]![row]! : 0) - mean[row]!);
      for (let column = 0; column <= row; column++) curvature[row]![column]! -= weight * mean[row]! * mean[column]!;
    }
  }
  for (let row = 0; row < size; row++) for (let column = 0; column < row; column++) curvature[column]![row] = curvature[row]![column]!;
  return solve(curvature, gradient);
}

/** Gaussian elimination with pivoting; the matrix is positive definite. */
function solve(matrix: number[][], right: number[]): number[] {
  const size = right.length;
  const rows = matrix.map((row, index) => [...row, right[index]!]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) if (Math.abs(rows[row]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = row;
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const factor = rows[row]![column]! / rows[column]![column]!;
      for (let index = column; index <= size; index++) rows[row]![index]! -= factor * rows[column]![index]!;
    }
  }
  return rows.map((row, index) => row[size]! / row[index]!);
}

/** One prediction and whether it came true. */
export interface ScoredPrediction {
  confidence: number;
  isRight: boolean;
  weight: number;
}

/** Expected calibration error (Naeini et al. 2015): mean distance of confidence and accuracy over ten equal bins, 0..1. */
export function expectedCalibrationError(predictions: readonly ScoredPrediction[], bins = 10): number {
  const sums = Array.from({ length: bins }, () => ({ weight: 0, confidence: 0, right: 0 }));
  let total = 0;
  for (const { confidence, isRight, weight } of predictions) {
    const bin = sums[Math.min(bins - 1, Math.floor(confidence * bins))]!;
    bin.weight += weight;
    bin.confidence += weight * confidence;
    bin.right += isRight ? weight : 0;
    total += weight;
  }
  return total === 0 ? 0 : sums.reduce((error, bin) => error + Math.abs(bin.confidence - bin.right), 0) / total;
}
