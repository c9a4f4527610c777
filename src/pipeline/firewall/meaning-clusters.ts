import { setImmediate as nextTurn } from "node:timers/promises";
import type { CallOptions, Embedder } from "../../types/common.js";

/** Texts of one call of the embedder. */
const EMBEDDED_AT_ONCE = 128;

/** Texts compared before the event loop has its turn. */
const PER_TURN = 50;

interface Cluster {
  /** Sum of its members' unit vectors, which points to their middle. */
  sum: Float64Array;
  length: number;
}

/**
 * Puts vectors into clusters, in their order: each into the one whose middle is nearest, where the cosine is at least `minSimilarity`, or
 * into a new one. Vectors of different `keys` never meet. Gives the number of each one's cluster.
 */
export async function clusterByMeaning(
  vectors: readonly (readonly number[])[],
  keys: readonly string[],
  minSimilarity: number,
): Promise<number[]> {
  const clusters: Cluster[] = [];
  const byKey = new Map<string, number[]>();
  const clusterOf: number[] = [];
  for (const [index, vector] of vectors.entries()) {
    if (index % PER_TURN === PER_TURN - 1) await nextTurn();
    const key = keys[index]!;
    const candidates = byKey.get(key) ?? [];
    byKey.set(key, candidates);
    const length = lengthOf(vector);
    let best = -1;
    let similarity = minSimilarity;
    for (const candidate of candidates) {
      const { sum, length: sumLength } = clusters[candidate]!;
      const cosine = dot(vector, sum) / (length * sumLength);
      if (cosine >= similarity) [best, similarity] = [candidate, cosine];
    }
    if (best === -1) {
      best = clusters.push({ sum: new Float64Array(vector.length), length: 0 }) - 1;
      candidates.push(best);
    }
    const cluster = clusters[best]!;
    for (let place = 0; place < vector.length; place += 1) cluster.sum[place]! += vector[place]! / length;
    cluster.length = lengthOf(cluster.sum);
    clusterOf.push(best);
  }
  return clusterOf;
}

/** One vector each of questions with their answers. */
export function embedPairs(
  embedder: Embedder,
  pairs: readonly { prompt: string; response: string }[],
  options: CallOptions,
): Promise<number[][]> {
  const texts = pairs.map(({ prompt, response }) => `${prompt}\n${response}`);
  return embedTexts(embedder, texts, options);
}

/** One vector each, some of them a call. */
export async function embedTexts(embedder: Embedder, texts: readonly string[], { signal }: CallOptions): Promise<number[][]> {
  const vectors: number[][] = [];
  for (let from = 0; from < texts.length; from += EMBEDDED_AT_ONCE) {
    vectors.push(...(await embedder.embed(texts.slice(from, from + EMBEDDED_AT_ONCE), { signal })));
  }
  return vectors;
}

/** Cosine of two vectors. */
export function cosineOf(left: readonly number[], right: readonly number[]): number {
  return dot(left, right) / (lengthOf(left) * lengthOf(right));
}

function dot(left: readonly number[], right: ArrayLike<number>): number {
  let sum = 0;
  for (let place = 0; place < right.length; place += 1) sum += left[place]! * right[place]!;
  return sum;
}

function lengthOf(vector: ArrayLike<number>): number {
  let squares = 0;
  for (let place = 0; place < vector.length; place += 1) squares += vector[place]! ** 2;
  return Math.sqrt(squares) || 1;
}
