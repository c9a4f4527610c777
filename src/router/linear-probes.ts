import { timeSlices } from "../support/time-slices.js";
import type { AdapterProfile } from "./adapter-profile.js";
import { dot } from "./unit-vectors.js";
import { VectorBlock } from "./vector-block.js";

/** Penalty of the ridge regression, in examples: a direction that fewer of them share is hardly trusted. */
const RIDGE = 3;
/** Examples over all adapters whose likeness to each other is weighed up: the cost grows with the cube. */
const MAX_ROWS = 1_024;

/**
 * A linear probe an adapter: the ridge regression of "is one of its examples" on the vectors of all adapters' examples. Unlike likeness,
 * it looks away from what all adapters' questions share, and finds what an adapter's questions share that are nothing like each other.
 */
export interface LinearProbes {
  /** One an adapter. */
  rows: Float32Array[];
  /**
   * How much an example's own label moves the probes' answer to it, 0..1. With it the answer without the example is known: exactly where
   * every vector is in the sample, and closely elsewhere.
   */
  leverage(vector: Float32Array): number;
}

/**
 * Fits the probes by the dual form, whose cost depends on the number of examples and hardly on the vectors' length. Yields to the event
 * loop every few milliseconds.
 */
export async function fitProbes(profiles: readonly AdapterProfile[], dimensions: number): Promise<LinearProbes> {
  const pause = timeSlices();
  const examples = sampleOf(profiles);
  const block = new VectorBlock(examples, dimensions);
  const likenessTo = (vector: ArrayLike<number>): Float32Array => {
    block.setQuery(vector);
    return block.multiply();
  };
  const factor: Float64Array[] = [];
  for (const [index, example] of examples.entries()) {
    await pause();
    const row = Float64Array.from(likenessTo(example).subarray(0, index + 1));
    row[index]! += RIDGE;
    factor.push(choleskyRow(row, factor));
  }
  const rows: Float32Array[] = [];
  for (const { mean, meanNorm } of profiles) {
    await pause();
    const sum = mean.map((value) => value * meanNorm);
    const dual = solveUpper(factor, solveLower(factor, likenessTo(sum)));
    for (const [index, example] of examples.entries()) {
      const share = dual[index]!;
      for (let dimension = 0; dimension < dimensions; dimension++) sum[dimension]! -= share * example[dimension]!;
    }
    rows.push(sum.map((value) => value / RIDGE));
  }
  return {
    rows,
    leverage: (vector) => {
      const solved = solveLower(factor, likenessTo(vector));
      return (dot(vector, vector) - dot(solved, solved)) / RIDGE;
    },
  };
}

/** Equally many exemplars of each adapter, or of every n-th, scaled so that they stand for all of its vectors. */
function sampleOf(profiles: readonly AdapterProfile[]): Float32Array[] {
  const stride = Math.ceil(profiles.length / MAX_ROWS);
  const perAdapter = Math.max(1, Math.floor(MAX_ROWS / profiles.length));
  return profiles
    .filter((_, index) => index % stride === 0)
    .flatMap(({ exemplars, clusters }) => {
      const chosen = exemplars.slice(0, perAdapter);
      const scale = Math.sqrt(clusters.assignment.length / chosen.length);
      return chosen.map((vector) => vector.map((value) => value * scale));
    });
}

/** The next row of the lower triangular factor of a positive definite matrix, of whose next row `row` is the part up to the diagonal. */
function choleskyRow(row: Float64Array, factor: readonly Float64Array[]): Float64Array {
  for (let column = 0; column < row.length; column++) {
    const above = column < factor.length ? factor[column]! : row;
    let value = row[column]!;
    for (let index = 0; index < column; index++) value -= row[index]! * above[index]!;
    row[column] = column < factor.length ? value / above[column]! : Math.sqrt(value);
  }
  return row;
}

function solveLower(factor: readonly Float64Array[], right: ArrayLike<number>): Float64Array {
  const solution = Float64Array.from(right);
  for (const [index, row] of factor.entries()) {
    let value = solution[index]!;
    for (let column = 0; column < index; column++) value -= row[column]! * solution[column]!;
    solution[index] = value / row[index]!;
  }
  return solution;
}

function solveUpper(factor: readonly Float64Array[], right: Float64Array): Float64Array {
  const solution = Float64Array.from(right);
  for (let index = factor.length - 1; index >= 0; index--) {
    const row = factor[index]!;
    solution[index]! /= row[index]!;
    for (let column = 0; column < index; column++) solution[column]! -= row[column]! * solution[index]!;
  }
  return solution;
}
