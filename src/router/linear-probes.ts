import { timeSlices } from "../support/time-slices.js";
import type { AdapterProfile } from "./adapter-profile.js";
import { gramOf, invertPositiveDefinite } from "./positive-definite.js";
import { dot } from "./unit-vectors.js";
import { VectorBlock } from "./vector-block.js";

/** Penalty of the ridge regression, in examples: a direction that fewer of them share is hardly trusted. */
const RIDGE = 3;
/** Examples over all adapters that the regression is fitted to. */
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
 * Fits the probes. The matrix of the regression, X'X + ridge, is the same for all adapters, so it is inverted once; where there are fewer
 * examples X than numbers in a vector, XX' + ridge in its place (the dual form). Yields to the event loop every few milliseconds.
 */
export async function fitProbes(profiles: readonly AdapterProfile[], dimensions: number): Promise<LinearProbes> {
  const pause = timeSlices();
  const solve = await ridgeSolver(sampleOf(profiles, dimensions), pause);
  const rows: Float32Array[] = [];
  for (const { mean, meanNorm } of profiles) {
    await pause();
    rows.push(solve(mean.map((value) => value * meanNorm)));
  }
  return { rows, leverage: (vector) => dot(vector, solve(vector)) };
}

/** What multiplies by the inverse of X'X + ridge. */
async function ridgeSolver(examples: VectorBlock, pause: () => Promise<void>): Promise<(vector: Float32Array) => Float32Array> {
  const columns = examples.transposed();
  if (examples.rows >= examples.dimensions) {
    const inverse = await invertPositiveDefinite(await gramOf(columns, RIDGE, pause), pause);
    return (vector) => inverse.productWith(vector).slice();
  }
  const inverse = await invertPositiveDefinite(await gramOf(examples, RIDGE, pause), pause);
  return (vector) => {
    const explained = columns.productWith(inverse.productWith(examples.productWith(vector)));
    return vector.map((value, index) => (value - explained[index]!) / RIDGE);
  };
}

/** Equally many exemplars of each adapter, or of every n-th, scaled so that they stand for all of its vectors. */
function sampleOf(profiles: readonly AdapterProfile[], dimensions: number): VectorBlock {
  const stride = Math.ceil(profiles.length / MAX_ROWS);
  const perAdapter = Math.max(1, Math.floor(MAX_ROWS / profiles.length));
  const sampled = profiles.filter((_, index) => index % stride === 0);
  const sample = new VectorBlock(
    sampled.flatMap(({ exemplars }) => exemplars.slice(0, perAdapter)),
    dimensions,
  );
  let row = 0;
  for (const { exemplars, clusters } of sampled) {
    const count = Math.min(perAdapter, exemplars.length);
    const scale = Math.sqrt(clusters.assignment.length / count);
    for (const end = row + count; row < end; row++) scaleBy(sample.row(row), scale);
  }
  return sample;
}

function scaleBy(vector: Float32Array, factor: number): void {
  for (let index = 0; index < vector.length; index++) vector[index]! *= factor;
}
