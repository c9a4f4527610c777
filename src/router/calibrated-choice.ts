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

/**
 * The most probable weights, by Newton's method with step halving from `start` (the posterior is concave, so that it decides no more than
 * the number of steps); yields after each step.
 */
export async function fitChoice(choices: readonly LabelledChoice[], prior: WeightPrior, start = prior.mean): Promise<number[]> {
  const flat = flatten(choices, prior.mean.length);
  let best = posteriorAt(start, flat, prior);
  for (let step = 0; step < MAX_STEPS; step++) {
    await new Promise((resolve) => setImmediate(resolve));
    const { weights, value, curvature, gradient } = best;
    const direction = solve(curvature, gradient);
    for (let length = 1; length > 1e-4 && best.value === value; length /= 2) {
      const proposal = posteriorAt(
        weights.map((weight, index) => weight + length * direction[index]!),
        flat,
        prior,
      );
      if (proposal.value > value) best = proposal;
    }
    if (best.value - value < TOLERANCE) break;
  }
  return [...best.weights];
}

/** Choices one behind the other, since they are gone through many times. */
interface FlatChoices {
  /** Of each choice, the number of its candidates, its label and its weight. */
  counts: Int32Array;
  labels: Int32Array;
  weights: Float64Array;
  /** All candidates' features. */
  features: Float64Array;
  mostCandidates: number;
}

function flatten(choices: readonly LabelledChoice[], size: number): FlatChoices {
  const counts = Int32Array.from(choices, ({ features }) => features.length);
  const features = new Float64Array(size * counts.reduce((sum, count) => sum + count, 0));
  let at = 0;
  for (const choice of choices) {
    for (const values of choice.features) for (let index = 0; index < size; index++) features[at++] = values[index]!;
  }
  return {
    counts,
    labels: Int32Array.from(choices, ({ label }) => label),
    weights: Float64Array.from(choices, ({ weight }) => weight),
    features,
    mostCandidates: counts.reduce((most, count) => Math.max(most, count), 0),
  };
}

/** The log posterior at these weights, its gradient and its negative second derivatives. */
interface Posterior {
  weights: readonly number[];
  value: number;
  gradient: number[];
  curvature: number[][];
}

function posteriorAt(weights: readonly number[], choices: FlatChoices, prior: WeightPrior): Posterior {
  const size = weights.length;
  const { features } = choices;
  const at = Float64Array.from(weights);
  const gradient = Float64Array.from(weights, (weight, index) => -prior.precision[index]! * (weight - prior.mean[index]!));
  const curvature = new Float64Array(size * size);
  let value = 0;
  for (let row = 0; row < size; row++) {
    value -= 0.5 * prior.precision[row]! * (weights[row]! - prior.mean[row]!) ** 2;
    curvature[row * size + row] = prior.precision[row]!;
  }
  const probabilities = new Float64Array(choices.mostCandidates);
  const mean = new Float64Array(size);
  let first = 0;
  for (let choice = 0; choice < choices.counts.length; choice++) {
    const count = choices.counts[choice]!;
    const label = choices.labels[choice]!;
    const weight = choices.weights[choice]!;
    const outside = chooseAmong(probabilities, count, features, first, at);
    value += weight * Math.log(Math.max(label >= 0 ? probabilities[label]! : outside, 1e-12));
    mean.fill(0);
    for (let candidate = 0; candidate < count; candidate++) {
      const probability = probabilities[candidate]!;
      const from = first + candidate * size;
      for (let row = 0; row < size; row++) {
        const share = probability * features[from + row]!;
        mean[row]! += share;
        for (let column = 0; column <= row; column++) curvature[row * size + column]! += weight * share * features[from + column]!;
      }
    }
    for (let row = 0; row < size; row++) {
      gradient[row]! += weight * ((label >= 0 ? features[first + label * size + row]! : 0) - mean[row]!);
      for (let column = 0; column <= row; column++) curvature[row * size + column]! -= weight * mean[row]! * mean[column]!;
    }
    first += count * size;
  }
  const symmetric = Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (__, column) => curvature[Math.max(row, column) * size + Math.min(row, column)]!),
  );
  return { weights, value, gradient: [...gradient], curvature: symmetric };
}

/** Writes the candidates' probabilities, and answers the base model's. */
function chooseAmong(probabilities: Float64Array, count: number, features: Float64Array, first: number, weights: Float64Array): number {
  const size = weights.length;
  let largest = 0;
  for (let candidate = 0; candidate < count; candidate++) {
    let utility = 0;
    for (let index = 0; index < size; index++) utility += features[first + candidate * size + index]! * weights[index]!;
    probabilities[candidate] = utility;
    if (utility > largest) largest = utility;
  }
  let total = Math.exp(-largest);
  for (let candidate = 0; candidate < count; candidate++) {
    probabilities[candidate] = Math.exp(probabilities[candidate]! - largest);
    total += probabilities[candidate]!;
  }
  for (let candidate = 0; candidate < count; candidate++) probabilities[candidate]! /= total;
  return Math.exp(-largest) / total;
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
